// The files of the report, unpacked.
import { NONE, type PageData } from '../html/page-types.js';

export interface Files {
  readonly length: number;
  readonly path: readonly string[];
  /** In lower case, for filters; made when it is first needed. */
  lower(): readonly string[];
}

export function unpackFiles({ files }: PageData): Files {
  const path: string[] = [];
  let before = '';
  for (const [i, rest] of files.rest.entries()) {
    before = before.slice(0, files.common[i]) + rest;
    path.push(before);
  }
  let lowered: string[] | undefined;
  return {
    length: path.length,
    path,
    lower() {
      lowered ??= path.map((text) => text.toLowerCase());
      return lowered;
    },
  };
}

/** Whether the run of the waterfall asked for it. */
export function isTimed(data: PageData, file: number): boolean {
  return data.files.first[file]! !== NONE;
}
