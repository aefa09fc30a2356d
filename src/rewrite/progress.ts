// How far a long piece of work has come, for whoever shows it.

export interface Progress {
  /** spool: a layer is decompressed. write: its optimized form is made. read: the same, taken apart. compare: side by side. */
  readonly step: 'spool' | 'write' | 'read' | 'compare';
  /** 0-based. */
  readonly layer: number;
  readonly layers: number;
  /** Bytes done of `total` in this step of this layer; both 1 when the step ends without having been counted. */
  readonly bytes: number;
  readonly total: number;
  /** Of this step in all layers together, where that is known. Layers may overlap. */
  readonly overall?: { readonly bytes: number; readonly total: number };
}

/** Called often; must return quickly and must not throw. */
export type OnProgress = (progress: Progress) => void;
