// SPDX-License-Identifier: MIT
// `wsxdp doctor`: what decides whether, and how well, transport=xdp will run here.
#pragma once
#include "arguments.h"

// 0: nothing stands in the way; 1: something does; 2: no such interface, or no address to ask about.
int run_doctor(const DoctorArguments &arguments);
