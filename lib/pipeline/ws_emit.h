// SPDX-License-Identifier: MIT
// What the two files of the ws stage share.
#pragma once
#include "ws_stage.h"

namespace wx {

// Time stamps of an event whose last byte is before `end`.
void ws_stamp(const WsConnection *c, uint64_t end, EventSlot *slot);
// Tells the transport that a rule was broken; false when the control ring is full.
bool ws_fail(WsStage *s, WsConnection *c, uint32_t index, int error);
// Inflates c->item and emits it; false: no room now, call again.
bool ws_inflate(WsStage *s, WsConnection *c, uint32_t index);

} // namespace wx
