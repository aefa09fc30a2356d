/** URL of fs-module.js, for SessionSpec.fs.module and MountOptions.module; `args` are LazyFsArgs. Apart, to be had without loading it. */
export const lazyFsModule: string = new URL('./fs-module.js', import.meta.url).href;
