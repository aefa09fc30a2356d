import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseGroup, parsePasswd, resolveUser } from '../../src/container/process/passwd.js';
import { HotlayerError } from '../../src/errors.js';

const PASSWD = parsePasswd(
  [
    'root:x:0:0:root:/root:/bin/sh',
    'daemon:x:1:2:daemon:/usr/sbin:/usr/sbin/nologin',
    '# a comment: not:a:user:1:2:x:y',
    '+nis:x:7:7::/:/bin/sh',
    'short:x:5',
    'noids:x:many:1::/:',
    'node:x:1000:1001:Node,,,:/home/node:/bin/bash',
    'nohome:x:1002:1003:::',
    'big:x:4294967294:3000000000:::',
    'toobig:x:4294967295:1:::',
    '',
  ].join('\n'),
);
const GROUP = parseGroup(
  'root:x:0:\nadm:x:4:node,daemon\nnode:x:1001:node\naudio:x:29:node\nlone:x:2000:\nadm2:x:4:node\n',
);

describe('passwd and group files', () => {
  test('lines that name nobody are skipped', () => {
    assert.deepEqual(
      PASSWD.map((p) => `${p.name} ${p.uid} ${p.gid} ${p.home}`),
      [
        'root 0 0 /root',
        'daemon 1 2 /usr/sbin',
        'node 1000 1001 /home/node',
        'nohome 1002 1003 ',
        'big 4294967294 3000000000 ',
      ],
    );
    assert.deepEqual(GROUP[1], { name: 'adm', gid: 4, members: ['node', 'daemon'] });
    assert.deepEqual(GROUP[0]?.members, []);
  });

  const rows: [user: string, uid: number, gid: number, groups: number[], home: string][] = [
    ['', 0, 0, [], '/root'],
    ['root', 0, 0, [], '/root'],
    ['node', 1000, 1001, [4, 29], '/home/node'],
    ['1000', 1000, 1001, [4, 29], '/home/node'],
    ['daemon', 1, 2, [4], '/usr/sbin'],
    ['nohome', 1002, 1003, [], '/'],
    ['node:lone', 1000, 2000, [], '/home/node'],
    ['node:77', 1000, 77, [], '/home/node'],
    ['4242', 4242, 0, [], '/'],
    ['4242:4343', 4242, 4343, [], '/'],
    [':audio', 0, 29, [], '/root'],
    ['1000:', 1000, 1001, [4, 29], '/home/node'],
  ];
  for (const [user, uid, gid, groups, home] of rows) {
    test(`user "${user}"`, () => assert.deepEqual(resolveUser(user, PASSWD, GROUP), { uid, gid, groups, home }));
  }

  for (const [user, text] of [
    ['nobody', /user "nobody" is not in the image's \/etc\/passwd, which has 5 entries/],
    ['node:nogroup', /group "nogroup" is not in the image's \/etc\/group/],
    ['4294967295', /user id 4294967295 is not between/],
    ['-1', /user id -1 is not between/],
    ['0:99999999999', /group id 99999999999 is not between/],
  ] as const) {
    test(`user "${user}" is refused`, () => {
      assert.throws(
        () => resolveUser(user, PASSWD, GROUP),
        (e) => e instanceof HotlayerError && e.code === 'HL_ERR_WORKLOAD' && text.test(e.message),
      );
    });
  }

  test('an image without /etc/passwd runs as numbers', () => {
    assert.deepEqual(resolveUser('', [], []), { uid: 0, gid: 0, groups: [], home: '/' });
    assert.deepEqual(resolveUser('12:13', [], []), { uid: 12, gid: 13, groups: [], home: '/' });
  });
});
