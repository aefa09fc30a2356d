// Packages and layers in a profile: purls, sums, history.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeProfiles } from '../../../src/analyze/merge.js';
import { attributeRuns, layerSteps, ownersOf } from '../../../src/analyze/packages/attribute.js';
import { parsePurl, purlOf } from '../../../src/analyze/packages/purl.js';
import { sumByPackage } from '../../../src/analyze/packages/uses.js';
import { buildProfile } from '../../../src/analyze/profile.js';
import { formatSaved, parseProfile } from '../../../src/analyze/saved.js';
import { viewOfTree } from '../../../src/analyze/tree-view.js';
import { stepText } from '../../../src/cli/origin-summary.js';
import { dir, reg, type Spec } from '../../rootfs/entries.js';
import { MemoryFs } from '../../support/memory-fs.js';
import { run, treeOf } from '../support.js';

test('package URLs: the examples of purl-spec, there and back', () => {
  for (const [purl, owner, distribution] of [
    [
      'pkg:deb/debian/curl@7.50.3-1?arch=i386',
      { kind: 'deb', name: 'curl', version: '7.50.3-1', architecture: 'i386' },
      'debian',
    ],
    [
      'pkg:apk/alpine/apk@2.12.9-r3?arch=x86',
      { kind: 'apk', name: 'apk', version: '2.12.9-r3', architecture: 'x86' },
      'alpine',
    ],
    [
      'pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386',
      { kind: 'rpm', name: 'curl', version: '7.50.3-1.fc25', architecture: 'i386' },
      'fedora',
    ],
    ['pkg:npm/%40angular/animation@12.3.1', { kind: 'npm', name: '@angular/animation', version: '12.3.1' }, ''],
    ['pkg:pypi/django-allauth@12.23', { kind: 'pypi', name: 'Django_allauth', version: '12.23' }, ''],
    ['pkg:gem/ruby-advisory-db-check@0.12.4', { kind: 'gem', name: 'ruby-advisory-db-check', version: '0.12.4' }, ''],
  ] as const) {
    assert.equal(purlOf(owner, distribution), purl);
    const back = parsePurl(purl);
    assert.deepEqual([back?.kind, back?.version], [owner.kind, owner.version]);
    if (owner.kind !== 'pypi') assert.equal(back?.name, owner.name);
  }
  const epoch = { kind: 'rpm', name: 'vim', version: '2:9.1-1', architecture: 'x86_64' } as const;
  assert.equal(purlOf(epoch, 'fedora'), 'pkg:rpm/fedora/vim@9.1-1?arch=x86_64&epoch=2');
  assert.equal(
    purlOf({ kind: 'deb', name: 'libstdc++6', version: '1:2+b~1' }, 'debian'),
    'pkg:deb/debian/libstdc%2B%2B6@1:2%2Bb~1',
  );
  assert.equal(parsePurl('pkg:cargo/rand@0.7.2'), undefined);
});

const LAYERS: Spec[][] = [
  [dir('bin'), reg('bin/app', { size: 9000 }), reg('bin/big', { size: 50_000 })],
  [reg('own', { size: 100 })],
];
const view = viewOfTree(treeOf(...LAYERS));

test('a profile says what was read of which package; merging keeps it', () => {
  const fs = new MemoryFs({
    nodes: [
      { path: 'etc/os-release', type: 'reg', content: { text: 'NAME="X"\nID=devuan\n' } },
      {
        path: 'var/lib/dpkg/status',
        type: 'reg',
        content: { text: 'Package: tools\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n' },
      },
      { path: 'var/lib/dpkg/info/tools.list', type: 'reg', content: { text: '/bin/app\n/bin/big\n' } },
      { path: 'bin/app', type: 'reg', content: { text: '' } },
    ],
  });
  const traced = [
    run(LAYERS, ['read /bin/app 0+4096', 'read /bin/big 0+100', 'read /own 0+100', 'lookup /bin']),
    run(LAYERS, ['read /bin/app 0+4096', 'getattr /bin/big', 'read /own 0+100', 'lookup /bin', 'lookup /bin']),
  ];
  const { runs, databases } = attributeRuns(traced, (paths) => ownersOf(fs, paths));
  const layers = layerSteps([{ created_by: 'FROM x' }, { created_by: 'COPY own /' }], 2);
  const totals = () => ({ ...view.totals(), layers, databases });
  const profile = buildProfile(runs, { totals });
  const purl = 'pkg:deb/devuan/tools@1?arch=all';
  assert.deepEqual(profile.packages, [
    { package: purl, files: 2, bytesRead: 4146, size: 59_000, largest: '/bin/app' },
    { files: 1, bytesRead: 100, size: 100, largest: '/own' },
  ]);
  assert.deepEqual(
    profile.files.map((file) => [file.path, file.package]),
    [
      ['/bin', undefined],
      ['/bin/app', purl],
      ['/bin/big', purl],
      ['/own', undefined],
    ],
  );
  assert.deepEqual(profile.image.databases, [{ kind: 'deb', path: '/var/lib/dpkg/status', packages: 1 }]);
  assert.deepEqual(parseProfile(formatSaved(profile), 'p'), profile);

  const [a, b] = runs.map((one) => buildProfile([one], { totals }));
  const plain = buildProfile([traced[0]!], view);
  assert.equal(plain.packages, undefined, 'nobody looked');
  const merged = mergeProfiles([a!, b!]);
  assert.deepEqual(merged.packages, profile.packages);
  assert.deepEqual(merged.image.layers, layers);
  assert.deepEqual(mergeProfiles([plain, b!]).packages, profile.packages, 'one of them looked');
  assert.equal(formatSaved(mergeProfiles([b!, plain])), formatSaved(mergeProfiles([plain, b!])));
});

test('sums: the most first', () => {
  const file = (path: string, owner: string | undefined, bytesRead: number) => ({
    path,
    package: owner,
    bytesRead,
    size: 10,
  });
  assert.deepEqual(
    sumByPackage([file('/a', 'p', 1), file('/b', undefined, 5), file('/c', 'p', 3), file('/d', 'o', 4)]),
    [
      { files: 1, bytesRead: 5, size: 10, largest: '/b' },
      { package: 'o', files: 1, bytesRead: 4, size: 10, largest: '/d' },
      { package: 'p', files: 2, bytesRead: 4, size: 20, largest: '/c' },
    ],
  );
});

test('layers and their steps: empty ones are skipped; a history that does not fit says nothing', () => {
  const history = [
    { created_by: '/bin/sh -c #(nop) ADD file:1 in / ' },
    { created_by: 'ENV A=1', empty_layer: true },
    { created_by: 'RUN /bin/sh -c npm ci # buildkit' },
    {},
  ];
  assert.deepEqual(layerSteps(history, 3), [
    { createdBy: '/bin/sh -c #(nop) ADD file:1 in /' },
    { createdBy: 'RUN /bin/sh -c npm ci # buildkit' },
    {},
  ]);
  assert.deepEqual(layerSteps(history, 2), [{}, {}]);
  assert.deepEqual(layerSteps(undefined, 1), [{}]);
});

test('a step in short', () => {
  assert.equal(stepText('/bin/sh -c #(nop) ADD file:1 in /'), 'ADD file:1 in /');
  assert.equal(stepText('RUN /bin/sh -c npm ci # buildkit'), 'RUN npm ci');
  assert.equal(stepText('|1 A=2 /bin/sh -c make   all'), 'RUN make all');
  assert.equal(stepText('COPY . /app # buildkit'), 'COPY . /app');
  assert.equal(stepText(undefined), '');
  assert.equal(stepText(`RUN ${'x'.repeat(100)}`).length, 60);
});
