// Who put a file into the image: packages of the system and of languages, from the databases that lie in the image.
import type { ImageFiles } from './image-files.js';

export type PackageKind = 'deb' | 'apk' | 'rpm' | 'npm' | 'pypi' | 'gem';

export interface Package {
  readonly kind: PackageKind;
  /** As its manager spells it: "libc6", "@scope/name". */
  readonly name: string;
  /** "" when it has none. */
  readonly version: string;
  readonly architecture?: string;
}

/** A database that was found. */
export interface PackageDatabase {
  readonly kind: PackageKind;
  /** Where, absolute in the image. */
  readonly path: string;
  /** Packages it lists; 0 when it could not be read. */
  readonly packages: number;
  /** Absent: it was read. */
  readonly notRead?: string;
}

/** Takes what a database says: this package installed a file of this name. */
export type Claim = (path: string, owner: Package) => void;

/**
 * Reads one kind of database.
 * @param wanted canonical paths of the files whose owners are asked for
 * @returns the databases found, none when there is none
 */
export type DatabaseReader = (files: ImageFiles, claim: Claim, wanted: readonly string[]) => PackageDatabase[];
