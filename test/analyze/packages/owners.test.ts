// Who owns a file, by databases that other programs wrote (this machine's dpkg, rpm's own) and by written-out ones.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ImageFiles } from '../../../src/analyze/packages/image-files.js';
import { findOwners } from '../../../src/analyze/packages/owners.js';
import type { Package, PackageDatabase } from '../../../src/analyze/packages/types.js';
import { DirFs } from '../../../src/rootfs/dir-fs.js';
import { makeTempDir } from '../../../src/temp.js';
import { MemoryFs, type NodeSpec } from '../../support/memory-fs.js';
import { lacking } from '../../support/tools.js';

const temp = makeTempDir(undefined, 'hl-packages');
after(() => temp.remove());

/** Path → content; a value that begins with "->" is a symlink. */
function filesOf(tree: Readonly<Record<string, string | Uint8Array>>): ImageFiles {
  const nodes = Object.entries(tree).map(([path, content]): NodeSpec => {
    if (typeof content !== 'string') return { path, type: 'reg', content: { bytes: content } };
    return content.startsWith('->')
      ? { path, type: 'symlink', target: content.slice(2) }
      : { path, type: 'reg', content: { text: content } };
  });
  return new ImageFiles(new MemoryFs({ nodes }));
}

function found(files: ImageFiles, ...paths: string[]): { owners: string[]; databases: readonly PackageDatabase[] } {
  const { byPath, databases } = findOwners(files, paths);
  const text = (owner: Package | undefined) => (owner ? `${owner.kind} ${owner.name} ${owner.version}` : '–');
  return { owners: paths.map((path) => text(byPath.get(path))), databases };
}

describe('dpkg', () => {
  const skip = existsSync('/var/lib/dpkg/status') ? false : 'this machine has no dpkg';

  test("this machine's own database: as dpkg -S says, for programs, libraries and modules", { skip }, () => {
    const some = (dir: string, every: number): string[] =>
      !existsSync(dir)
        ? []
        : readdirSync(dir, { withFileTypes: true })
            .filter((entry) => entry.isFile())
            .filter((_, i) => i % every === 0)
            .map((entry) => realpathSync(join(dir, entry.name)));
    const paths = [
      ...new Set([
        ...some('/bin', 40),
        ...some('/usr/lib/x86_64-linux-gnu', 30),
        ...some('/lib/systemd/system', 5),
        ...some('/usr/share/perl5/Debconf', 3),
      ]),
    ];
    assert.ok(paths.length > 20, `${paths.length} paths`);
    using fs = closing(new DirFs('/'));
    const { byPath, databases } = findOwners(new ImageFiles(fs.fs), paths);
    assert.deepEqual([databases[0]?.kind, databases[0]?.path], ['deb', '/var/lib/dpkg/status']);
    // dpkg knows the names as packaged: /lib/x where /lib is a link now.
    const names = paths.flatMap((path) => [path, path.replace(/^\/usr(?=\/(?:bin|sbin|lib))/, '')]);
    const { stdout } = spawnSync('dpkg', ['-S', ...new Set(names)], { encoding: 'utf8', maxBuffer: 1e8 });
    const expected = new Map<string, string>();
    for (const line of stdout.split('\n')) {
      const [, owner, path] = /^([^:,]+)[^ ]*(?:, .*)?: (\/.*)$/.exec(line) ?? [];
      if (owner && path && !line.startsWith('diversion by')) expected.set(realpathSync(path), owner);
    }
    assert.ok(expected.size > 20);
    let checked = 0;
    for (const path of paths) {
      const want = expected.get(path);
      if (want === undefined) continue;
      assert.equal(byPath.get(path)?.name, want, path);
      checked += 1;
    }
    assert.ok(checked > 20, `${checked} compared`);
  });

  const status = [
    'Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2.36-9+deb12u4\nDescription: C\n continued: line',
    'Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5.12-2',
    'Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1',
    'Package: base-passwd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.6.1',
    'Package: python3-six\nStatus: install ok installed\nArchitecture: all\nVersion: 1.16.0-4',
    'Package: molly\nStatus: install ok installed\nArchitecture: all\nVersion: 0.7',
  ].join('\n\n');
  const tree = {
    'var/lib/dpkg/status': `${status}\n`,
    'var/lib/dpkg/diversions': '/sbin/reboot\n/sbin/reboot.real\nmolly\n',
    'var/lib/dpkg/info/libc6:amd64.list': '/.\n/lib\n/lib/x86_64-linux-gnu/libc.so.6\n/sbin/reboot\n',
    'var/lib/dpkg/info/dash.list': '/bin/dash\n/bin/sh\n',
    'var/lib/dpkg/info/gone.list': '/etc/gone.conf\n',
    'var/lib/dpkg/info/molly.list': '/sbin/reboot\n',
    'var/lib/dpkg/info/base-passwd.list': '/usr/share/base-passwd\n',
    'var/lib/dpkg/info/python3-six.list': '/usr/lib/python3/dist-packages/six.py\n',
    bin: '->usr/bin',
    sbin: '->/usr/sbin',
    lib: '->usr/lib',
    'usr/bin/dash': '',
    'usr/bin/sh': '->dash',
    'usr/sbin/reboot': '',
    'usr/sbin/reboot.real': '',
    'usr/lib/x86_64-linux-gnu/libc.so.6': '',
    'usr/lib/python3/dist-packages/six.py': '',
    'etc/gone.conf': '',
    'etc/passwd': '',
  };

  test('merged /usr, architectures, diversions, removed packages, byte code, files of scripts', () => {
    const { owners, databases } = found(
      filesOf(tree),
      '/usr/lib/x86_64-linux-gnu/libc.so.6',
      '/usr/bin/sh',
      '/usr/sbin/reboot',
      '/usr/sbin/reboot.real',
      '/etc/gone.conf',
      '/etc/passwd',
      '/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc',
      '/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.opt-1.pyc',
      '/opt/own',
    );
    assert.deepEqual(owners, [
      'deb libc6 2.36-9+deb12u4',
      'deb dash 0.5.12-2',
      'deb molly 0.7',
      'deb libc6 2.36-9+deb12u4',
      '–',
      'deb base-passwd 3.6.1',
      'deb python3-six 1.16.0-4',
      'deb python3-six 1.16.0-4',
      '–',
    ]);
    assert.deepEqual(databases, [{ kind: 'deb', path: '/var/lib/dpkg/status', packages: 5 }]);
  });

  test('distroless: status.d with checksums, here those of this machine', { skip }, () => {
    const sums = '/var/lib/dpkg/info/base-files.md5sums';
    const real = existsSync(sums) ? readFileSync(sums, 'utf8') : '';
    const path = /^\S+ {2}(.*)$/m.exec(real)?.[1];
    assert.ok(path, `${sums} lists files`);
    const files = filesOf({
      'var/lib/dpkg/status': '',
      'var/lib/dpkg/status.d/base': 'Package: base-files\nVersion: 12\nArchitecture: amd64\n',
      'var/lib/dpkg/status.d/base.md5sums': real,
      [path]: '',
    });
    assert.deepEqual(found(files, `/${path}`), {
      owners: ['deb base-files 12'],
      databases: [{ kind: 'deb', path: '/var/lib/dpkg/status.d', packages: 1 }],
    });
  });
});

test('apk: both places; a file in the root; a link', () => {
  const installed = [
    'C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl c library (libc)\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1abc=\nR:libc.musl-x86_64.so.1',
    'P:busybox\nV:1.36.1-r5\nA:x86_64\nF:bin\nR:busybox\nF:\nR:linuxrc\nF:etc\nF:etc/network\nR:x',
  ].join('\n\n');
  for (const place of ['lib/apk/db/installed', 'usr/lib/apk/db/installed']) {
    const files = filesOf({
      [place]: `${installed}\n\n`,
      'lib/ld-musl-x86_64.so.1': '',
      'bin/busybox': '',
      linuxrc: '',
      'etc/network/x': '',
    });
    assert.deepEqual(found(files, '/lib/ld-musl-x86_64.so.1', '/bin/busybox', '/linuxrc', '/etc/network/x', '/etc/x'), {
      owners: ['apk musl 1.2.4-r2', 'apk busybox 1.36.1-r5', 'apk busybox 1.36.1-r5', 'apk busybox 1.36.1-r5', '–'],
      databases: [{ kind: 'apk', path: `/${place}`, packages: 2 }],
    });
  }
});

describe('rpm', () => {
  const skip = lacking('rpm', 'rpmbuild');

  test('a database that rpm wrote, every file of every package', { skip }, () => {
    const db = makeDatabase();
    const query = ['--define', '_db_backend sqlite', '--dbpath', db, '-qa', '--qf', '[%{=NAME} %{FILENAMES}\\n]'];
    const listed = execFileSync('rpm', query, { encoding: 'utf8' }).trim().split('\n');
    const expected = new Map(listed.map((line) => line.split(' ').reverse() as [path: string, owner: string]));
    expected.delete('/usr/share/wide');
    assert.equal(expected.size, 305);
    const tree = Object.fromEntries([...expected.keys()].map((path) => [path.slice(1), '' as string | Uint8Array]));
    tree['var/lib/rpm/rpmdb.sqlite'] = readFileSync(join(db, 'rpmdb.sqlite'));
    const { byPath, databases } = findOwners(filesOf(tree), [...expected.keys()]);
    assert.deepEqual(databases, [{ kind: 'rpm', path: '/var/lib/rpm/rpmdb.sqlite', packages: 4 }]);
    for (const [path, owner] of expected) assert.equal(byPath.get(path)?.name, owner, path);
    assert.deepEqual(byPath.get('/usr/bin/caf\u00e9'), {
      kind: 'rpm',
      name: 'tiny',
      version: '2:1.5-3.fc40',
      architecture: 'noarch',
    });
  });

  /** "wide" has so many files that its header takes several pages. */
  function makeDatabase(): string {
    const spec = join(temp.path, 'all.spec');
    const parts = ['a', 'b'];
    writeFileSync(
      spec,
      [
        'Name: tiny\nVersion: 1.5\nRelease: 3.fc40\nEpoch: 2\nSummary: t\nLicense: MIT\nBuildArch: noarch',
        '%description\nt',
        ...['-n wide', ...parts].map((name) => `%package ${name}\nSummary: p\n%description ${name}\np`),
        '%install\nmkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/wide %{buildroot}/lib',
        'touch %{buildroot}/usr/bin/tiny %{buildroot}/lib/tiny.so %{buildroot}/usr/bin/caf\u00e9',
        'for i in $(seq 300); do : > %{buildroot}/usr/share/wide/file-with-a-long-name-$i; done',
        'touch %{buildroot}/lib/a %{buildroot}/lib/b',
        '%files\n/usr/bin/tiny\n/lib/tiny.so\n/usr/bin/caf\u00e9\n%files -n wide\n/usr/share/wide',
        ...parts.map((name) => `%files ${name}\n/lib/${name}`),
      ].join('\n'),
    );
    const quiet = { stdio: 'pipe' } as const;
    execFileSync('rpmbuild', ['-bb', '--quiet', '--define', `_topdir ${temp.path}/build`, spec], quiet);
    const rpms = join(temp.path, 'build/RPMS/noarch');
    const db = join(temp.path, 'db');
    const define = ['--define', '_db_backend sqlite', '--dbpath', db];
    const built = readdirSync(rpms).map((name) => join(rpms, name));
    execFileSync('rpm', [...define, '-i', '--justdb', '--nodeps', '--noscripts', ...built], quiet);
    return db;
  }

  test('what is not read is said: Berkeley DB, a journal, damage', () => {
    const database = (tree: Record<string, string>) => found(filesOf(tree), '/bin/x').databases;
    assert.match(database({ 'var/lib/rpm/Packages': 'x' })[0]!.notRead!, /Berkeley DB/);
    assert.match(
      database({ 'var/lib/rpm/rpmdb.sqlite': 'SQLite format 3 but not quite' })[0]!.notRead!,
      /not an SQLite/,
    );
    assert.match(
      database({ 'var/lib/rpm/rpmdb.sqlite': 'x', 'var/lib/rpm/rpmdb.sqlite-wal': 'y' })[0]!.notRead!,
      /-wal has changes/,
    );
    assert.match(database({ 'usr/lib/sysimage/rpm/Packages.db': 'RpmP' })[0]!.notRead!, /ndb/);
    assert.deepEqual(database({ 'var/lib/rpm/other': '' }), []);
  });

  test('a damaged database never ends the run, whatever byte is wrong', { skip }, () => {
    const db = join(temp.path, 'db/rpmdb.sqlite');
    const good = readFileSync(db);
    for (let round = 0; round < 30; round++) {
      const bad = Buffer.from(good);
      for (let i = 0; i < 40; i++)
        bad[(round * 7919 + i * 104_729) % (i % 2 === 0 ? 8192 : bad.length)] = (round * 31 + i) & 0xff;
      const { databases } = found(filesOf({ 'var/lib/rpm/rpmdb.sqlite': bad }), '/usr/bin/tiny');
      assert.equal(databases.length, 1);
    }
  });
});

describe('SQLite', () => {
  const skip = lacking('python3');

  test('tables that sqlite3 wrote: every kind of value, long rows, small pages, deep trees', { skip }, async () => {
    const { tableRows } = await import('../../../src/analyze/packages/sqlite-table.js');
    for (const pageSize of [512, 65536]) {
      const file = join(temp.path, `t${pageSize}.db`);
      const script = `
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute('PRAGMA page_size=%d' % ${pageSize})
c.execute('CREATE TABLE other (a)')
c.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB, s TEXT, n)')
for i in range(800):
    n = [None, 0, 1, -5, 300, -70000, 2**33, 7 * i][i % 8]
    c.execute('INSERT INTO t VALUES (?, ?, ?, ?)', (i + 1, bytes([i % 256]) * (i * 7 % 3000 if i != 799 else 200000), 'é%d' % i, n))
c.commit()
`;
      execFileSync('python3', ['-c', script, file]);
      const rows = [...tableRows(readFileSync(file), 't')];
      assert.equal(rows.length, 800);
      for (const [i, [id, blob, text, n]] of rows.entries()) {
        assert.equal(id, undefined);
        const length = i === 799 ? 200_000 : (i * 7) % 3000;
        assert.ok(
          Buffer.isBuffer(blob) && blob.length === length && blob.every((byte) => byte === i % 256),
          `row ${i}`,
        );
        assert.equal(text, `é${i}`);
        assert.equal(n, [undefined, 0, 1, -5, 300, -70_000, 2 ** 33, 7 * i][i % 8]);
      }
      assert.throws(() => [...tableRows(readFileSync(file), 'nowhere')], /no table nowhere/);
    }
  });
});

describe('packages of languages', () => {
  test('npm: the nearest package.json with a name; scopes, nested ones, the application itself', () => {
    const files = filesOf({
      'package.json': '{"name": "the-whole-system"}',
      'app/package.json': '{"name": "shop", "version": "1.2.3"}',
      'app/server.js': '',
      'app/node_modules/@scope/x/package.json': '{"name": "@scope/x", "version": "2.0.0"}',
      'app/node_modules/@scope/x/dist/esm/package.json': '{"type": "module"}',
      'app/node_modules/@scope/x/dist/esm/a.js': '',
      'app/node_modules/@scope/x/node_modules/y/package.json': '{"name": "y"}',
      'app/node_modules/@scope/x/node_modules/y/y.js': '',
      'app/node_modules/.package-lock.json': '{}',
      'app/node_modules/broken/package.json': '{"name": ',
      'app/node_modules/broken/b.js': '',
      'usr/bin/tool': '',
    });
    const { owners, databases } = found(
      files,
      '/app/server.js',
      '/app/node_modules/@scope/x/dist/esm/a.js',
      '/app/node_modules/@scope/x/node_modules/y/y.js',
      '/app/node_modules/.package-lock.json',
      '/app/node_modules/broken/b.js',
      '/usr/bin/tool',
    );
    assert.deepEqual(owners, ['npm shop 1.2.3', 'npm @scope/x 2.0.0', 'npm y ', '–', '–', '–']);
    assert.deepEqual(databases, [{ kind: 'npm', path: 'package.json', packages: 3 }]);
  });

  test("npm: this project's own dependencies", () => {
    const root = fileURLToPath(new URL('../../../..', import.meta.url));
    using fs = closing(new DirFs(root));
    const version = (name: string) =>
      JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
    assert.deepEqual(found(new ImageFiles(fs.fs), '/node_modules/commander/lib/command.js').owners, [
      `npm commander ${version('commander')}`,
    ]);
  });

  test('pip: RECORD with quoted names and ways out of the directory; egg-info; byte code', () => {
    const at = 'usr/local/lib/python3.12/site-packages';
    const files = filesOf({
      [`${at}/requests-2.31.0.dist-info/METADATA`]: 'Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\n\nText\n',
      [`${at}/requests-2.31.0.dist-info/RECORD`]:
        'requests/api.py,sha256=x,12\n"requests/a, ""b"".py",,\n../../../bin/req,sha256=y,3\nrequests-2.31.0.dist-info/RECORD,,\n',
      [`${at}/old.egg-info/PKG-INFO`]: 'Name: old\nVersion: 0.1\n',
      [`${at}/old.egg-info/installed-files.txt`]: '../old/__init__.py\nPKG-INFO\n',
      [`${at}/requests/api.py`]: '',
      [`${at}/requests/a, "b".py`]: '',
      [`${at}/old/__init__.py`]: '',
      [`${at}/requests/__pycache__/api.cpython-312.pyc`]: '',
      'usr/local/bin/req': '',
    });
    const { owners, databases } = found(
      files,
      `/${at}/requests/api.py`,
      `/${at}/requests/a, "b".py`,
      `/${at}/requests/__pycache__/api.cpython-312.pyc`,
      '/usr/local/bin/req',
      `/${at}/old/__init__.py`,
      `/${at}/loose.py`,
    );
    assert.deepEqual(owners, [
      'pypi requests 2.31.0',
      'pypi requests 2.31.0',
      'pypi requests 2.31.0',
      'pypi requests 2.31.0',
      'pypi old 0.1',
      '–',
    ]);
    assert.deepEqual(databases, [{ kind: 'pypi', path: `/${at}`, packages: 2 }]);
  });

  test('gem: installed gems, compiled parts, gems that come with Ruby', () => {
    const home = 'usr/local/lib/ruby/gems/3.3.0';
    const spec = (name: string, version: string, files = '') =>
      `# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = "${name}".freeze\n  s.version = "${version}"\n${files}end\n`;
    const files = filesOf({
      [`${home}/specifications/nokogiri-1.16.0-x86_64-linux.gemspec`]: spec('nokogiri', '1.16.0'),
      [`${home}/specifications/default/json-2.7.1.gemspec`]: spec(
        'json',
        '2.7.1',
        '  s.files = ["LICENSE".freeze, "lib/json.rb".freeze, "lib/json/common.rb".freeze]\n',
      ),
      [`${home}/gems/nokogiri-1.16.0-x86_64-linux/lib/nokogiri.rb`]: '',
      [`${home}/extensions/x86_64-linux/3.3.0/nokogiri-1.16.0-x86_64-linux/n.so`]: '',
      'usr/local/lib/ruby/3.3.0/json/common.rb': '',
      'usr/local/lib/ruby/3.3.0/set.rb': '',
    });
    const { owners, databases } = found(
      files,
      `/${home}/gems/nokogiri-1.16.0-x86_64-linux/lib/nokogiri.rb`,
      `/${home}/extensions/x86_64-linux/3.3.0/nokogiri-1.16.0-x86_64-linux/n.so`,
      '/usr/local/lib/ruby/3.3.0/json/common.rb',
      '/usr/local/lib/ruby/3.3.0/set.rb',
      `/${home}/gems/unknown-1.0/lib/u.rb`,
    );
    assert.deepEqual(owners, ['gem nokogiri 1.16.0', 'gem nokogiri 1.16.0', 'gem json 2.7.1', '–', '–']);
    assert.deepEqual(databases, [{ kind: 'gem', path: `/${home}/specifications`, packages: 2 }]);
  });

  test("a system's package comes before a language's", () => {
    const files = filesOf({
      'var/lib/dpkg/status': 'Package: node-semver\nStatus: install ok installed\nVersion: 7\n',
      'var/lib/dpkg/info/node-semver.list': '/usr/share/nodejs/semver/index.js\n',
      'usr/share/nodejs/semver/package.json': '{"name": "semver", "version": "7.3.5"}',
      'usr/share/nodejs/semver/index.js': '',
    });
    assert.deepEqual(found(files, '/usr/share/nodejs/semver/index.js').owners, ['deb node-semver 7']);
  });
});

test('files of an image: links inside of it, loops, what is missing', () => {
  const files = filesOf({
    'a/b': 'text',
    link: '->/a',
    up: '->../../a/b',
    loop: '->loop',
    'a/c': '->./b',
  });
  assert.equal(files.text('/link/b'), 'text');
  assert.equal(files.text('/up'), 'text');
  assert.equal(files.text('/link/c'), 'text');
  assert.equal(files.text('/a/../link/./b'), 'text');
  assert.equal(files.text('/loop'), undefined);
  assert.equal(files.text('/a'), undefined);
  assert.equal(files.text('/a/b/c'), undefined);
  assert.deepEqual(files.list('/link'), ['b', 'c']);
  assert.equal(files.list('/a/b'), undefined);
  assert.equal(files.realDirectory('/link'), '/a');
  assert.equal(files.realDirectory('/'), '/');
});

function closing<T extends { close(): void }>(fs: T): { fs: T } & Disposable {
  return { fs, [Symbol.dispose]: () => fs.close() };
}
