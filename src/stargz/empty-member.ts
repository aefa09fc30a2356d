// A gzip member that decompresses to nothing and carries bytes in its header: the footer is one, and so is filling.

/**
 * 29 bytes without the data = 10 (gzip header with FEXTRA) + 2 (XLEN) + 4 (id and length of an RFC 1952 subfield) +
 * 5 (a stored, final, empty block) + 8 (CRC32 and ISIZE, both 0).
 */
export const EMPTY_MEMBER_SIZE = 29;
/** Of a subfield: XLEN has two bytes, and counts the subfield's id and length. */
export const MAX_EXTRA_DATA = 0xffff - 4;

export const GZIP_HEAD = Buffer.from([0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0]);
export const EMPTY_BODY = Buffer.from([0x01, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);

/** @param id two ASCII characters @param data 0 … MAX_EXTRA_DATA bytes */
export function emptyMember(id: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt8(0xff, 1); // XFL 0, OS unknown
  head.writeUInt16LE(data.length + 4, 2);
  head.write(id, 4, 'latin1');
  head.writeUInt16LE(data.length, 6);
  return Buffer.concat([GZIP_HEAD, head, data, EMPTY_BODY]);
}
