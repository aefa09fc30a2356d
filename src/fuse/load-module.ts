// Modules that are named by their URL, because another thread or process is to load them, too. In the bundle another file
// stands for this one (bin/bundle.js): a module of the bundle is there already.

export function loadModule(url: string): Promise<unknown> {
  return import(url);
}
