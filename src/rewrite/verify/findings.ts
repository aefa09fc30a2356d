// What verification found: checks, each with every mismatch, both sides shown. Nothing is thrown at the first one.

export type CheckId = 'image' | 'files' | 'content' | 'estargz' | 'order' | 'tar';

export interface Mismatch {
  /** 0-based index of the layer; absent when it concerns the image as a whole. */
  readonly layer?: number;
  /** Name of the tar entry or path in the image (lossless string: show it with showPath). */
  readonly entry?: string;
  readonly message: string;
  /** How the two sides read, as text. Absent when there is nothing to put side by side. */
  readonly expected?: string;
  readonly found?: string;
}

/** Something that differs and may: checked for being equivalent, and listed so that nobody is surprised. */
export interface Exception {
  readonly layer: number;
  readonly entry: string;
  readonly kind: 'sparse-expanded' | 'hardlink-copied' | 'global-headers' | 'reserved-name-dropped';
  readonly message: string;
}

export interface Check {
  readonly id: CheckId;
  readonly label: string;
  readonly ok: boolean;
  /** What was compared, in numbers. */
  readonly detail: string;
  readonly mismatches: readonly Mismatch[];
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly checks: readonly Check[];
  /** Differences that are allowed; each was checked. */
  readonly exceptions: readonly Exception[];
}

const LABELS: Readonly<Record<CheckId, string>> = {
  image: 'same image',
  files: 'same files',
  content: 'same content',
  estargz: 'eStargz',
  order: 'order',
  tar: 'plain tar.gz',
};

/** Collects mismatches while the comparison goes on. */
export class Findings {
  private readonly byCheck = new Map<CheckId, Mismatch[]>();
  readonly exceptions: Exception[] = [];

  fail(check: CheckId, mismatch: Mismatch): void {
    const list = this.byCheck.get(check);
    if (list) list.push(mismatch);
    else this.byCheck.set(check, [mismatch]);
  }

  /** A mismatch unless both sides are the same value. */
  same(check: CheckId, expected: unknown, found: unknown, where: Omit<Mismatch, 'expected' | 'found'>): boolean {
    const a = show(expected);
    const b = show(found);
    if (a === b) return true;
    this.fail(check, { ...where, expected: a, found: b });
    return false;
  }

  accept(exception: Exception): void {
    this.exceptions.push(exception);
  }

  /** @param details what each check compared */
  report(details: Readonly<Record<CheckId, string>>): VerifyReport {
    const checks = (Object.keys(LABELS) as CheckId[]).map((id) => {
      const mismatches = this.byCheck.get(id) ?? [];
      return { id, label: LABELS[id], ok: mismatches.length === 0, detail: details[id], mismatches };
    });
    return { ok: checks.every((check) => check.ok), checks, exceptions: this.exceptions };
  }
}

function show(value: unknown): string {
  if (value === undefined) return 'absent';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
