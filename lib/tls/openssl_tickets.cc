// SPDX-License-Identifier: MIT
// Session tickets, kept per host so that a reconnect skips the certificate exchange. One ticket per host,
// the newest; a bounded number of hosts. It never hands a ticket to another host than the one that was
// verified when it was issued, and never allocates: the slots are part of the context. Worst case: more
// hosts than slots make full handshakes.
#include "openssl_parts.h"

namespace wx {
namespace {

ByteView key_of(const OpensslSession *session) {
    return ByteView(session->ticket_key, session->ticket_key_size);
}

TicketSlot *find(TlsContext *context, ByteView key) {
    for (TicketSlot &slot : context->tickets) {
        if (slot.session && equal(ByteView(slot.key, slot.size), key)) return &slot;
    }
    return nullptr;
}

TicketSlot *longest_unused(TlsContext *context) {
    TicketSlot *oldest = &context->tickets[0];
    for (TicketSlot &slot : context->tickets) {
        if (!slot.session) return &slot;
        if (slot.used < oldest->used) oldest = &slot;
    }
    return oldest;
}

void empty(TicketSlot *slot) {
    SSL_SESSION_free(slot->session);
    slot->session = nullptr;
    slot->size = 0;
    slot->used = 0;
}

} // namespace

int openssl_on_ticket(SSL *ssl, SSL_SESSION *ticket) {
    OpensslSession *session = static_cast<OpensslSession *>(SSL_get_app_data(ssl));
    if (session->ticket_key_size == 0 || !SSL_SESSION_is_resumable(ticket)) return 0;
    TlsContext *context = session->context;
    TicketSlot *slot = find(context, key_of(session));
    if (!slot) slot = longest_unused(context);
    empty(slot);
    slot->session = ticket;
    slot->used = ++context->ticket_clock;
    slot->stored_at = monotonic_ns();
    slot->size = session->ticket_key_size;
    memcpy(slot->key, session->ticket_key, slot->size);
    return 1; // the reference is ours now
}

// The key is the caller's text and the name that was verified: two texts that differ in either never
// share a ticket, whatever the caller does.
void openssl_set_ticket_key(OpensslSession *session, ByteView ticket_key) {
    Writer writer(ByteSpan(session->ticket_key, sizeof session->ticket_key));
    writer.bytes(ticket_key);
    writer.u8('\n');
    writer.text(session->host);
    session->ticket_key_size = writer.failed || ticket_key.empty() ? 0 : writer.size();
}

// What the ticket allows to be sent early. Past its lifetime OpenSSL leaves the ticket out but announces the
// early data all the same, which a server may take for an error.
static size_t early_max_of(const TicketSlot &slot) {
    const unsigned long lifetime_s = SSL_SESSION_get_ticket_lifetime_hint(slot.session);
    const Nanos age = monotonic_ns() - slot.stored_at + ns_per_s; // it was on its way, too
    if (age / ns_per_s >= static_cast<Nanos>(lifetime_s)) return 0;
    return SSL_SESSION_get_max_early_data(slot.session);
}

// RFC 8446 appendix C.4: "Clients SHOULD NOT reuse a ticket for multiple connections." A TLS 1.2 session
// may be used again and stays.
void openssl_offer_ticket(OpensslSession *session) {
    if (session->ticket_key_size == 0) return;
    TicketSlot *slot = find(session->context, key_of(session));
    if (!slot) return;
    slot->used = ++session->context->ticket_clock;
    session->offered_ticket = SSL_set_session(session->ssl, slot->session) == 1;
    const unsigned char *ticket;
    SSL_SESSION_get0_ticket(slot->session, &ticket, &session->ticket_size);
    session->early_max = session->offered_ticket ? early_max_of(*slot) : 0;
    if (SSL_SESSION_get_protocol_version(slot->session) >= TLS1_3_VERSION) empty(slot);
}

void openssl_forget_ticket(OpensslSession *session) {
    TicketSlot *slot = session->ticket_key_size ? find(session->context, key_of(session)) : nullptr;
    if (slot) empty(slot);
}

void openssl_free_tickets(TlsContext *context) {
    for (TicketSlot &slot : context->tickets) empty(&slot);
}

} // namespace wx
