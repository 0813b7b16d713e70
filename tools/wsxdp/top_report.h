// SPDX-License-Identifier: MIT
// What was seen of a pipeline between two looks, for people and for programs.
#pragma once
#include "top_sample.h"

struct TopView {
    std::string name;
    const TopSample &before, &now;
    const TopRegion &region;
};
std::string top_text(const TopView &view);
std::string top_json(const TopView &view); // one line
