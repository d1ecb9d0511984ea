/**
 * Bytes of a file that one system call writes, at most. Linux takes the pages behind a write in blocks as large as the write is: from 2 MiB on they are blocks that nobody has used
 * lately, and in a virtual machine the host has to find memory for these first. Packs of 20 MiB written in one call took seven times the system time, or more, of the same in pieces (bench/history.md).
 */
export const WRITE_BYTES_MAX: number = 512 << 10;

/** File systems on a disk, by statfs(2): ext4 and XFS. Others take a direct write and copy it all the same, or ask somebody over a network to have it safe before the next. */
const DIRECT_FILE_SYSTEMS: readonly number[] = [0xef53, 0x58465342];

/** Whether a file system, by its number of statfs(2), gains by writes past the system's cache. */
export function takesDirectWrites(type: number): boolean {
  return DIRECT_FILE_SYSTEMS.includes(type);
}

/** Offsets, lengths and memory of direct writes are multiples of it, whatever the disk. */
export const DIRECT_BLOCK_BYTES: number = 4096;
