// SPDX-License-Identifier: MIT
// What the command's exit status says. The numbers are in wsxdp(1) and must not change.
#pragma once

enum ExitCode {
    exit_ok = 0,            // what was asked for was done
    exit_internal = 1,      // the system or this program failed
    exit_usage = 2,         // the command line is wrong
    exit_connect = 3,       // the name does not resolve or nothing listens there
    exit_tls = 4,           // TLS could not be set up or the certificate is not acceptable
    exit_http = 5,          // the server or a proxy answered, but not with a WebSocket
    exit_protocol = 6,      // the peer broke a rule of WebSocket or sent more than the limits allow
    exit_closed = 7,        // the connection was lost or closed for a reason other than a normal end
    exit_timeout = 8,       // something took too long
    exit_output = 9,        // standard output could not be written
    exit_interrupted = 130, // a signal before the connection was open, or a second one
};

// The exit status for a WSXDP_E_ code.
int exit_code_of(int status);
