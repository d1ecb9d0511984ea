import stringWidth from "fast-string-width";

export interface Column<T> {
  readonly header: string;
  readonly value: (row: T) => string | number | boolean | undefined | null;
  /** Shown with `-o wide` only. */
  readonly wide?: boolean;
}

/** Lines of a borderless table as kubectl prints it: columns as wide as their widest cell, three spaces apart, nothing trailing. */
export function formatTable<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  options: { readonly wide?: boolean; readonly headers?: boolean } = {},
): string {
  const shown = columns.filter((column) => options.wide === true || column.wide !== true);
  const cells = [
    ...(options.headers === false ? [] : [shown.map((column) => column.header)]),
    ...rows.map((row) =>
      shown.map((column) => {
        const value = column.value(row);
        return value === undefined || value === null || value === "" ? "<none>" : String(value);
      }),
    ),
  ];
  const widths = shown.map((_, index) => Math.max(0, ...cells.map((line) => stringWidth(line[index] ?? ""))));
  return cells
    .map(
      (line) =>
        `${line
          .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - stringWidth(cell)))
          .join("   ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** How long ago, as kubectl's AGE: `45s`, `5m30s`, `3h12m`, `2d5h`, `41d`. */
export function formatAge(sinceMs: number | undefined, nowMs: number): string {
  return sinceMs === undefined ? "<unknown>" : formatElapsed(nowMs - sinceMs);
}

/** A duration for people, in at most two units. */
export function formatElapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const pair = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
    `${large}${largeUnit}${small === 0 ? "" : `${small}${smallUnit}`}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return pair(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return pair(days, "d", hours % 24, "h");
  return `${days}d`;
}
