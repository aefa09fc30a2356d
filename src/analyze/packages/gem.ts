// Ruby gems: files lie in gems/NAME-VERSION/ (extensions/…/NAME-VERSION/ what was compiled), beside
// specifications/NAME-VERSION.gemspec; gems that come with Ruby list their files in specifications/default/.
import type { ImageFiles } from './image-files.js';
import type { Claim, DatabaseReader, Package } from './types.js';

export const readGem: DatabaseReader = (files, claim, wanted) => {
  const homes = new Map<string, Map<string, Package | undefined>>();
  const packages = new Map<string, Set<string>>();
  const found = (home: string, owner: Package): void => {
    packages.set(home, (packages.get(home) ?? new Set()).add(`${owner.name} ${owner.version}`));
  };
  for (const path of wanted) {
    const [, home, full] = /^(.*)\/(?:gems|extensions\/[^/]+\/[^/]+)\/([^/]+-\d[^/]*)\//.exec(path) ?? [];
    if (home === undefined || full === undefined) continue;
    const known = homes.get(home) ?? new Map<string, Package | undefined>();
    homes.set(home, known);
    if (!known.has(full)) known.set(full, parseGemspec(files.text(`${home}/specifications/${full}.gemspec`)));
    const owner = known.get(full);
    if (!owner) continue;
    found(home, owner);
    claim(path, owner);
  }
  for (const [library, home] of rubyLibraries(files, wanted)) {
    readDefaults(files, home, library, claim, (owner) => found(home, owner));
  }
  return [...packages].map(([path, names]) => ({ kind: 'gem', path: `${path}/specifications`, packages: names.size }));
};

/** /usr/lib/ruby/3.1.0 and /usr/local/lib/ruby/3.3.0, with the home of their gems below gems/VERSION. */
function rubyLibraries(files: ImageFiles, wanted: readonly string[]): Map<string, string> {
  const out = new Map<string, string>();
  for (const path of wanted) {
    const [, base, version] = /^(.*\/lib\/ruby)\/(\d+\.\d+\.\d+)\//.exec(path) ?? [];
    if (base === undefined || out.has(`${base}/${version}`)) continue;
    const homes = [`${base}/gems/${version}`, `/usr/share/rubygems-integration/${version}`, `/var/lib/gems/${version}`];
    const home = homes.find((at) => files.realDirectory(`${at}/specifications/default`) !== undefined);
    if (home !== undefined) out.set(`${base}/${version}`, home);
  }
  return out;
}

/** A default gem's files are named relative to the gem; what is below lib/ lies in Ruby's own library. */
function readDefaults(
  files: ImageFiles,
  home: string,
  library: string,
  claim: Claim,
  found: (owner: Package) => void,
): void {
  const directory = `${home}/specifications/default`;
  for (const name of files.list(directory) ?? []) {
    const text = name.endsWith('.gemspec') ? files.text(`${directory}/${name}`) : undefined;
    const owner = parseGemspec(text);
    if (!owner) continue;
    found(owner);
    const list = /\.files = \[([^\]]*)\]/.exec(text!)?.[1] ?? '';
    for (const [, path] of list.matchAll(/"([^"]+)"/g)) {
      if (path!.startsWith('lib/')) claim(`${library}/${path!.slice('lib/'.length)}`, owner);
    }
  }
}

/** Written by RubyGems itself: `s.name = "rake".freeze`, `s.version = "13.0.6"`. */
function parseGemspec(text: string | undefined): Package | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^ *s\\.${name} = (?:Gem::Version\\.new )?"([^"]+)"`, 'm').exec(text ?? '')?.[1];
  const name = field('name');
  return name === undefined ? undefined : { kind: 'gem', name, version: field('version') ?? '' };
}
