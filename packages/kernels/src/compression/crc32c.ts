/** CRC-32C (Castagnoli), which S2 streams use; node:zlib has the other polynomial only. Four bytes a step through four tables. */
const TABLES: readonly Int32Array[] = buildTables();

export function crc32c(data: Uint8Array): number {
  const [t0, t1, t2, t3] = TABLES as unknown as readonly [Int32Array, Int32Array, Int32Array, Int32Array];
  let crc = -1;
  let at = 0;
  for (const end = data.length - 3; at < end; at += 4) {
    crc ^= (data[at] as number) | ((data[at + 1] as number) << 8) | ((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 24);
    crc = (t3[crc & 0xff] as number) ^ (t2[(crc >>> 8) & 0xff] as number) ^ (t1[(crc >>> 16) & 0xff] as number) ^ (t0[crc >>> 24] as number);
  }
  for (; at < data.length; at++) crc = (crc >>> 8) ^ (t0[(crc ^ (data[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

function buildTables(): Int32Array[] {
  const tables = Array.from({ length: 4 }, () => new Int32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let table = 0; table < 4; table++) {
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
      const row = tables[table];
      if (row !== undefined) row[byte] = crc;
    }
  }
  return tables;
}
