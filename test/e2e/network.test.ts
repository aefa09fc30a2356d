// `--net slirp4netns` and `--net pasta`, the real programs: the container reaches what this machine reaches, by a network
// of its own. Everything happens in a network namespace with an address and a route that only the test has.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { lacking, notHere } from '../support/tools.js';
import { expectCli, noFuse } from './cli.js';
import { NOBODY } from './users.js';

const isRoot = process.getuid!() === 0;
const skip =
  noFuse() ||
  lacking('slirp4netns', 'pasta', 'ip', 'python3', 'bash') ||
  (isRoot ? false : notHere(['root, to make a network for the test']));

/** Neither this machine's address nor on its line: whoever wants to go there needs the route. */
const ELSEWHERE = '198.51.100.7';

/** A line with nobody at its other end has a route all the same. */
const NETWORK = `set -e
ip link set lo up; ip addr add ${ELSEWHERE}/32 dev lo
ip link add line type veth peer name other; ip link set other up; ip addr add 192.0.2.10/24 dev line; ip link set line up; ip route add default via 192.0.2.1
mount -t tmpfs -o mode=755 hotlayer-test /mnt
mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse
mknod -m 666 /mnt/tun c 10 200; mount --bind /mnt/tun /dev/net/tun
python3 -c '
import socket
s = socket.create_server(("", 8080))
open("/mnt/up", "w").close()
while True:
    c, _ = s.accept()
    c.sendall(b"reached\\n")
    c.close()
' & n=0; until [ -e /mnt/up ]; do sleep 0.05; n=$((n+1)); [ $n -lt 600 ] || exit 99; done
"$@"`;

const USERS = [
  ['root', []],
  [
    'an ordinary user',
    ['setpriv', '--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups', '--inh-caps=-all', '--'],
  ],
] as const;

describe('networks of their own', { skip }, () => {
  for (const net of ['slirp4netns', 'pasta'])
    for (const [who, as] of USERS)
      test(`${net} for ${who}`, async () => {
        // unshare --kill-child: the server ends with it.
        const own = ['unshare', '--mount', '--propagation', 'private', '--net', '--pid', '--fork', '--kill-child'];
        const through = [...own, '--mount-proc', '--', 'sh', '-c', NETWORK, 'sh', ...as];
        const ask = (address: string) =>
          `(exec 3<>/dev/tcp/${address}/8080 && cat <&3) 2>/dev/null || echo "${address} is closed"`;
        // slirp4netns has this machine's loopback device at its gateway, unless it is told not to.
        const places = [ELSEWHERE, '127.0.0.1', ...(net === 'slirp4netns' ? ['10.0.2.2'] : [])];
        const script = `grep -c : /proc/net/dev; ${places.map(ask).join('; ')}; grep -c '^nameserver [0-9]' /etc/resolv.conf`;
        const closed = places.slice(1).map((address) => `${address} is closed\n`);
        for (const runtime of ['builtin', 'runc', 'crun']) {
          const args = ['run', '--net', net, '--runtime', runtime, 'dir:/', '--', 'bash', '-c', script];
          const { stdout } = await expectCli(0, args, { through });
          assert.equal(stdout, `2\nreached\n${closed.join('')}1\n`, runtime);
        }
      });
});
