// SPDX-License-Identifier: MIT
// The shared region of this process's only handle, mapped once more, and every word in it that a process
// which runs stages can write: what a test overwrites that plays a broken one. Which side's word it is in a
// sane world is told with it.
#pragma once
#include "../../lib/pipeline/shared.h"
#include "../../lib/pipeline/stages.h"
#include "../support/processes.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

struct SharedWord {
    std::string name;
    uint64_t at; // in the region
    uint32_t bytes;
    uint64_t capacity; // of its ring; 0: not a position
    bool callers;      // in a sane world written by the caller's side alone

    uint64_t read(const uint8_t *base) const {
        return bytes == 8 ? __atomic_load_n(reinterpret_cast<const uint64_t *>(base + at), __ATOMIC_ACQUIRE)
                          : __atomic_load_n(reinterpret_cast<const uint32_t *>(base + at), __ATOMIC_ACQUIRE);
    }
    void write(uint8_t *base, uint64_t value) const {
        if (bytes == 8)
            __atomic_store_n(reinterpret_cast<uint64_t *>(base + at), value, __ATOMIC_RELEASE);
        else
            __atomic_store_n(reinterpret_cast<uint32_t *>(base + at), static_cast<uint32_t>(value),
                             __ATOMIC_RELEASE);
    }
};

struct RegionView {
    uint8_t *base = nullptr;
    uint64_t bytes = 0;
    wx::RegionLayout layout;
    std::vector<SharedWord> words;

    RegionView() = default;
    RegionView(const RegionView &) = delete;
    RegionView &operator=(const RegionView &) = delete;
    ~RegionView() { close(); }

    // places: processes that the stages are in; nic: one of them has that stage alone. false: there is no
    // region, or one that cannot be mapped.
    bool open(size_t places, bool nic) {
        close();
        for (int fd = 3; fd < 256 && base == nullptr; fd++) {
            char target[64] = "";
            const std::string path = "/proc/self/fd/" + std::to_string(fd);
            if (readlink(path.c_str(), target, sizeof target - 1) < 0) continue;
            if (std::string(target).rfind("/memfd:wsxdp ", 0) == 0) map(fd, places, nic);
        }
        return base != nullptr;
    }
    void close() {
        if (base != nullptr) munmap(base, bytes);
        base = nullptr;
        words.clear();
    }

private:
    void map(int fd, size_t places, bool nic) {
        wx::RegionHeader header;
        if (pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) return;
        void *memory = mmap(nullptr, header.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED) return;
        base = static_cast<uint8_t *>(memory);
        bytes = header.total_bytes;
        layout = wx::stages_region_layout(header.sizes, wx::shared_words_bytes(header.sizes.connections));
        region.base = base;
        region.layout = layout;
        region.sizes = header.sizes;
        add_rings(header.sizes);
        add_connection(header.sizes);
        for (size_t i = 0; i < places; i++) add_place(i, header.sizes);
        if (nic) add_nic();
    }
    void add(const std::string &name, uint64_t at, uint32_t size, uint64_t capacity, bool callers) {
        words.push_back({name, at, size, capacity, callers});
    }
    uint64_t offset_of(const void *word) const {
        return static_cast<uint64_t>(static_cast<const uint8_t *>(word) - base);
    }
    template <class Word>
    void add_word(const std::string &name, Word *word, uint64_t capacity, bool callers) {
        add(name, offset_of(word), sizeof *word, capacity, callers);
    }
    void add_rings(const wx::RegionSizes &n) {
        const uint64_t tail = offsetof(wx::RingWords, tail), head = offsetof(wx::RingWords, head);
        add("events.tail", layout.events + tail, 8, n.event_slots, false);
        add("events.head", layout.events + head, 8, n.event_slots, true);
        add("event_notes.tail", layout.event_notes + tail, 8, n.note_slots, false);
        add("event_notes.head", layout.event_notes + head, 8, n.note_slots, true);
        add("commands.tail", layout.commands + tail, 8, n.command_slots, true);
        add("commands.head", layout.commands + head, 8, n.command_slots, false);
        add("metadata.tail", layout.metadata + tail, 8, n.metadata_slots, false);
        add("metadata.head", layout.metadata + head, 8, n.metadata_slots, false);
        add("control.tail", layout.control + tail, 8, n.control_slots, false);
        add("control.head", layout.control + head, 8, n.control_slots, false);
        add("transport_notes.tail", layout.transport_notes + tail, 8, n.note_slots, false);
        add("transport_notes.head", layout.transport_notes + head, 8, n.note_slots, false);
    }
    void add_connection(const wx::RegionSizes &n) {
        using wx::ByteRingWords;
        using wx::ConnectionWords;
        const uint64_t area = layout.connection_base; // of the first
        const uint64_t inbox = area + offsetof(ConnectionWords, inbox);
        const uint64_t outbox = area + offsetof(ConnectionWords, outbox);
        const uint64_t tail = offsetof(ByteRingWords, tail), head = offsetof(ByteRingWords, head);
        const uint64_t skip = offsetof(ByteRingWords, skip);
        add("inbox.tail", inbox + tail, 8, n.inbox_bytes, false);
        add("inbox.head", inbox + head, 8, n.inbox_bytes, true);
        add("inbox.skip", inbox + skip, 8, n.inbox_bytes, false);
        add("outbox.tail", outbox + tail, 8, n.outbox_bytes, true);
        add("outbox.head", outbox + head, 8, n.outbox_bytes, false);
        add("outbox.skip", outbox + skip, 8, n.outbox_bytes, true);
        add("ping_cookie", area + offsetof(ConnectionWords, ping_cookie), 8, 0, false);
        add("ping_tick", area + offsetof(ConnectionWords, ping_tick), 8, 0, false);
        add("frame_end", area + offsetof(ConnectionWords, frame_end), 8, n.inbox_bytes, false);
        add("epoch_start", area + offsetof(ConnectionWords, epoch_start), 8, n.outbox_bytes, true);
        add("epoch", area + offsetof(ConnectionWords, epoch), 8, 4, true);
        add("flush_asked", area + offsetof(ConnectionWords, flush_asked), 4, 0, false);
    }
    void add_place(size_t number, const wx::RegionSizes &n) {
        wx::PlaceWords *place = wx::shared_place(region, number);
        const std::string of = number == 0 ? "" : "place " + std::to_string(number) + ": ";
        add_word(of + "wants_room", &place->wants_room, 0, false);
        add_word(of + "allocations", &place->allocations, 0, false);
        add_word(of + "stop", &place->stop, 0, true);
        add_word(of + "waits_for_room", &place->waits_for_room, 0, true);
        add_word(of + "leave_asked", &place->leave_asked, 0, true);
        add_word(of + "requests", &place->requests, 0, true);
        add_word(of + "bell", &place->bell.word, 0, false);
        add_word(of + "app_bell", &place->app_bell.word, 0, false);
        add_word(of + "question.state", &place->question.state, 2, false);
        add_word(of + "question.size", &place->question.size, 0, false);
        add_word(of + "question.index", &place->question.index, 0, true);
        for (uint64_t i = 0; i < n.connections && i < 2; i++)
            add_word(of + "seat " + std::to_string(i), &wx::shared_seats(region, number)[i], 2, false);
    }
    template <class Ring> void add_nic_ring(const char *name, Ring *ring) {
        add_word(std::string(name) + ".tail", &ring->words.tail, Ring::slot_count, false);
        add_word(std::string(name) + ".head", &ring->words.head, Ring::slot_count, false);
    }
    void add_nic() {
        wx::NicArea *nic = wx::shared_nic(region);
        add_word("nic.request.state", &nic->request.state, 2, false);
        add_word("nic.lost", &nic->lost, 0, false);
        add_word("nic.link_ups", &nic->link_ups, 0, false);
        add_nic_ring("nic.inbox", &nic->inbox);
        add_nic_ring("nic.bulk", &nic->bulk);
        add_nic_ring("nic.acks", &nic->acks);
        add_nic_ring("nic.control", &nic->control);
        add_nic_ring("nic.freed", &nic->freed);
        add_nic_ring("nic.completed", &nic->completed);
    }

    wx::Region region;
};
