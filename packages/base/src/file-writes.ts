/**
 * Bytes of a file that one system call writes, at most. Linux takes the pages behind a write in blocks as large as the write is: from 2 MiB on they are blocks that nobody has used
 * lately, and in a virtual machine the host has to find memory for these first. Packs of 20 MiB written in one call took seven times the system time, or more, of the same in pieces (bench/results.md).
 */
export const WRITE_BYTES_MAX: number = 512 << 10;
