// SPDX-License-Identifier: MIT
// Reads the option `placement`. Cold, once for each handle. Every mistake is named with the place where it
// stands.
#include "placement.h"

namespace wx {

static const struct {
    const char *name;
    uint32_t bit;
} stage_names[] = {{"nic", stage_nic}, {"transport", stage_transport},
                   {"rx", stage_rx},   {"tls", stage_tls},
                   {"tx", stage_tx},   {"ws", stage_ws}};

static int wrong(ErrorText *error, ByteView text, const char *what) {
    error->begin(WSXDP_E_INVALID).add("placement: '").add(text.first(text.size < 40 ? text.size : 40));
    error->add("' ").add(what);
    return WSXDP_E_INVALID;
}

static bool is_space(uint8_t c) { return c == ' ' || c == '\t'; }

static ByteView trim(ByteView text) {
    while (text.size != 0 && is_space(text.data[0])) text = text.from(1);
    while (text.size != 0 && is_space(text.data[text.size - 1])) text = text.first(text.size - 1);
    return text;
}

// Up to the first of `stop`, which is passed over with what comes before it.
static ByteView take_until(ByteView *rest, bool (*stop)(uint8_t)) {
    size_t size = 0;
    while (size < rest->size && !stop(rest->data[size])) size++;
    ByteView taken = rest->first(size);
    *rest = rest->from(size < rest->size ? size + 1 : size);
    return taken;
}

static int read_cpu(ByteView text, ByteView whole, int *out, ErrorText *error) {
    int cpu = 0;
    if (text.size == 0) return wrong(error, whole, "has no number after @");
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return wrong(error, whole, "has something else than a processor's number after @");
        cpu = cpu * 10 + (text.data[i] - '0');
        if (cpu > placement_cpu_max) return wrong(error, whole, "names a processor above 1023");
    }
    *out = cpu;
    return WSXDP_OK;
}

static int read_wait(ByteView text, ByteView whole, int8_t *out, ErrorText *error) {
    static const char *const ways[] = {"spin", "adaptive", "sleep", "yield"}; // as the option's choices
    for (int8_t i = 0; i < 4; i++)
        if (equal(text, ByteView(ways[i]))) *out = i;
    if (*out < 0)
        return wrong(error, whole, "has no way to wait after /; there are spin, yield, adaptive and sleep");
    return WSXDP_OK;
}

static int read_place(ByteView text, Placement *out, ErrorText *error) {
    if (out->count == places_max) return wrong(error, text, "is one place more than there are stages");
    Place *place = &out->places[out->count++];
    *place = Place();
    ByteView wait = text;
    ByteView rest = take_until(&wait, [](uint8_t c) { return c == '/'; });
    const bool waits = rest.size < text.size;
    const size_t before_wait = rest.size;
    ByteView stages = take_until(&rest, [](uint8_t c) { return c == '@'; });
    const bool pinned = stages.size < before_wait;
    while (stages.size != 0 || place->stages == 0) {
        const size_t before = stages.size;
        ByteView name = take_until(&stages, [](uint8_t c) { return c == '+'; });
        uint32_t bit = 0;
        for (const auto &row : stage_names)
            if (equal(name, ByteView(row.name))) bit = row.bit;
        const bool ends_in_plus = before != name.size && stages.size == 0;
        if (bit == 0 || ends_in_plus)
            return wrong(error, text, "names no stage; there are nic, transport, rx, tls, tx and ws");
        for (size_t i = 0; i < out->count; i++)
            if (out->places[i].stages & bit) return wrong(error, text, "names a stage a second time");
        place->stages |= bit;
    }
    int status = waits ? read_wait(wait, text, &place->wait, error) : static_cast<int>(WSXDP_OK);
    return pinned && status >= 0 ? read_cpu(rest, text, &place->cpu, error) : status;
}

int placement_parse(ByteView text, Placement *out, ErrorText *error) {
    *out = Placement();
    ByteView rest = text;
    ByteView kind = trim(take_until(&rest, [](uint8_t c) { return c == ':'; }));
    const bool has_list = kind.size < trim(text).size;
    if (equal(kind, ByteView("inline"))) {
        if (has_list) return wrong(error, text, "has a list, but inline is the caller's thread alone");
        return WSXDP_OK;
    }
    if (equal(kind, ByteView("threads")))
        out->kind = PlacementKind::threads;
    else if (equal(kind, ByteView("processes")))
        out->kind = PlacementKind::processes;
    else
        return wrong(error, text, "begins with none of inline, threads and processes");
    if (!has_list) return WSXDP_OK;
    for (rest = trim(rest); rest.size != 0; rest = trim(rest)) {
        int status = read_place(take_until(&rest, is_space), out, error);
        if (status < 0) return status;
    }
    if (out->count == 0) return wrong(error, text, "has a list without a stage");
    return WSXDP_OK;
}

size_t placement_nic(const Placement &placement) {
    size_t place = 0;
    while (place < placement.count &&
           (placement.places[place].stages & (stage_nic | stage_transport)) != stage_nic)
        place++;
    return place;
}

static bool named(const Placement *placement, uint32_t bits) {
    for (size_t i = 0; i < placement->count; i++)
        if (placement->places[i].stages & bits) return true;
    return false;
}

static void add_place(Placement *placement, uint32_t stages) {
    placement->places[placement->count] = Place();
    placement->places[placement->count++].stages = stages;
}

static Place *place_with(Placement *placement, uint32_t bits) {
    for (size_t i = 0; i < placement->count; i++)
        if (placement->places[i].stages & bits) return &placement->places[i];
    return nullptr;
}

// The list names transport or rx.
static void complete_sockets(Placement *placement) {
    constexpr uint32_t whole = stage_rx | stage_tls | stage_tx;
    if (!named(placement, stage_lead)) place_with(placement, stage_rx)->stages |= stage_tls;
    Place *lead = place_with(placement, stage_lead);
    if (!named(placement, stage_transport | stage_tx)) lead->stages |= stage_tx;
    if (!named(placement, stage_ws)) lead->stages |= stage_ws;
    if ((lead->stages & whole) == whole) lead->stages = (lead->stages & ~whole) | stage_transport;
}

int placement_complete(Placement *placement, bool xdp, ErrorText *error) {
    if (placement->kind == PlacementKind::inline_) return WSXDP_OK;
    constexpr uint32_t socket_stages = stage_rx | stage_tls | stage_tx;
    error->begin(WSXDP_E_INVALID).add("placement: ");
    if (placement->count == 0) {
        if (xdp) add_place(placement, stage_nic);
        add_place(placement, stage_transport);
        add_place(placement, stage_ws);
    } else if (xdp && named(placement, socket_stages)) {
        error->add("rx, tls and tx are stages of sockets; with transport=xdp they are nic and transport");
        return WSXDP_E_INVALID;
    } else if (!xdp && named(placement, stage_nic)) {
        error->add(
            "nic is a stage of transport=xdp; with sockets they are rx, tls and tx, or transport for all");
        return WSXDP_E_INVALID;
    } else if (named(placement, stage_transport) && named(placement, socket_stages)) {
        error->add("transport stands for rx, tls and tx; name it or them");
        return WSXDP_E_INVALID;
    } else if (!named(placement, stage_transport | stage_rx)) {
        error->add("the list names neither transport nor rx: nobody would read");
        return WSXDP_E_INVALID;
    }
    error->clear();
    if (!xdp) complete_sockets(placement);
    return WSXDP_OK;
}

} // namespace wx
