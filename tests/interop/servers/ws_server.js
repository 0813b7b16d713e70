// SPDX-License-Identifier: MIT
// ws_server.js [--address A] [--tls CERT KEY] [--deflate JSON]: a peer made of Debian's node-ws. Prints its port;
// ends with its standard input. It does what websockets_server.py does, in the same words.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const { WebSocketServer } = require('ws');

function option(name, count) {
    const at = process.argv.indexOf(name);
    return at < 0 ? null : process.argv.slice(at + 1, at + 1 + count);
}

function describe(data, binary) {
    return `${binary ? 'b' : 't'} ${data.length} ${crypto.createHash('sha256').update(data).digest('hex')}`;
}

function make(binary, size) {
    const unit = binary ? crypto.randomBytes(251) : Buffer.from('aen\u00e4\u20ac\u{1f600} 0123456789', 'utf8');
    const data = Buffer.alloc(size, '.');
    for (let at = 0; at + unit.length <= size; at += unit.length) unit.copy(data, at);
    return data;
}

function get(peer, kind, size, fragments) {
    const binary = kind === 'b';
    const data = make(binary, Number(size));
    const step = Math.max(1, Math.ceil(data.length / Number(fragments)));
    for (let at = 0; ; at += step) {
        const fin = at + step >= data.length;
        peer.send(data.subarray(at, at + step), { binary, fin, compress: true });
        if (fin) break;
    }
    peer.send(describe(data, binary));
}

function obey(peer, text) {
    const [word, what, rest] = text.split(' ');
    if (word === 'get') get(peer, ...what.split(','));
    else if (word === 'ping') {
        peer.once('pong', (data) => peer.send(`pong ${data}`));
        peer.ping(what);
    } else if (word === 'close') peer.close(Number(what), rest);
    else return false;
    return true;
}

const address = option('--address', 1) || ['127.0.0.1'];
const tls = option('--tls', 2);
const deflate = option('--deflate', 1);
const server = tls ? https.createServer({ cert: fs.readFileSync(tls[0]), key: fs.readFileSync(tls[1]) })
                   : http.createServer();
const sockets = new WebSocketServer({
    server, maxPayload: 64 << 20,
    perMessageDeflate: deflate ? { threshold: 0, ...JSON.parse(deflate[0]) } : false,
});
sockets.on('connection', (peer, request) => {
    peer.on('error', () => {});
    peer.on('message', (data, binary) => {
        if (!binary && data.length < 200 && obey(peer, data.toString())) return;
        if (request.url === '/hash') peer.send(describe(data, binary));
        else peer.send(data, { binary });
    });
});
server.listen(0, address[0], () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
