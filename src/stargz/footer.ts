// The last bytes of a blob: an empty gzip member whose extra field says where the TOC member begins.
import { HotlayerError } from '../errors.js';
import { EMPTY_BODY, EMPTY_MEMBER_SIZE, emptyMember, GZIP_HEAD } from './empty-member.js';

/** eStargz, 51 bytes: an empty member whose subfield 'S' 'G' has 22 bytes, 16 hex digits and "STARGZ". */
export const FOOTER_SIZE = EMPTY_MEMBER_SIZE + 22;
/** CRFS, 47 bytes: the same without the subfield's four bytes of id and length. Read, never written. */
export const LEGACY_FOOTER_SIZE = 47;
/** eStargz with the TOC kept outside of the blob, 46 bytes: subfield of 17 bytes "STARGZEXTERNALTOC". Refused. */
export const EXTERNAL_TOC_FOOTER_SIZE = 46;

const MAGIC = 'STARGZ';

export interface Footer {
  readonly kind: 'estargz' | 'legacy';
  readonly size: number;
  /** Offset of the TOC member in the blob. */
  readonly tocOffset: number;
}

/** @param tocOffset 0 … 2^53 - 1 */
export function buildFooter(tocOffset: number): Buffer {
  if (!Number.isSafeInteger(tocOffset) || tocOffset < 0) {
    throw new HotlayerError('HL_ERR_BUG', `a footer cannot hold the TOC offset ${tocOffset}`);
  }
  return emptyMember('SG', Buffer.from(`${tocOffset.toString(16).padStart(16, '0')}${MAGIC}`, 'latin1'));
}

/**
 * The footer at the end of `tail` (the last 51 bytes of a blob, or all of a shorter one); undefined when there is
 * none, so the blob is not stargz.
 * @throws HL_ERR_STARGZ for a footer that says the TOC is elsewhere, or whose offset is not 16 hex digits
 */
export function parseFooter(tail: Buffer, blob = 'blob'): Footer | undefined {
  const estargz = extraOf(tail, FOOTER_SIZE);
  if (estargz?.subarray(0, 4).equals(Buffer.from('SG\x16\x00', 'latin1'))) {
    const payload = estargz.subarray(4);
    if (endsWithMagic(payload)) return footer('estargz', FOOTER_SIZE, payload, blob);
  }
  const legacy = extraOf(tail, LEGACY_FOOTER_SIZE);
  if (legacy && endsWithMagic(legacy)) return footer('legacy', LEGACY_FOOTER_SIZE, legacy, blob);
  const external = extraOf(tail, EXTERNAL_TOC_FOOTER_SIZE);
  if (external?.equals(Buffer.from('SG\x11\x00STARGZEXTERNALTOC', 'latin1'))) {
    throw new HotlayerError(
      'HL_ERR_STARGZ',
      `${blob}: the footer says that the TOC is in another image ("external TOC"); expected it in the blob`,
      { hint: 'give the original image, or one converted without --estargz-external-toc' },
    );
  }
  return undefined;
}

/** The extra field of a footer of exactly `size` bytes. MTIME, XFL and OS may be anything. */
function extraOf(tail: Buffer, size: number): Buffer | undefined {
  if (tail.length < size) return undefined;
  const bytes = tail.subarray(tail.length - size);
  const extra = bytes.subarray(12, size - EMPTY_BODY.length);
  if (!bytes.subarray(0, 4).equals(GZIP_HEAD.subarray(0, 4))) return undefined;
  if (bytes.readUInt16LE(10) !== extra.length) return undefined;
  return bytes.subarray(size - EMPTY_BODY.length).equals(EMPTY_BODY) ? extra : undefined;
}

function endsWithMagic(payload: Buffer): boolean {
  return payload.length === 16 + MAGIC.length && payload.toString('latin1', 16) === MAGIC;
}

function footer(kind: Footer['kind'], size: number, payload: Buffer, blob: string): Footer {
  const digits = payload.toString('latin1', 0, 16);
  const tocOffset = /^[0-9a-fA-F]{16}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
  if (!Number.isSafeInteger(tocOffset)) {
    throw new HotlayerError(
      'HL_ERR_STARGZ',
      `${blob}: the footer's TOC offset is ${JSON.stringify(digits)}; expected 16 hex digits below 2^53`,
    );
  }
  return { kind, size, tocOffset };
}
