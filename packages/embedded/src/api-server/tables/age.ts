import { parseTime } from "@drayage/base";

/** How long ago a time was, as people read it; `<unknown>` when there is none. */
export function age(time: string | null | undefined, nowMs: number): string {
  const ms = parseTime(time);
  return ms === undefined ? "<unknown>" : humanDuration(nowMs - ms);
}

/** A duration with at most two units: `45s`, `3m10s`, `5h30m`, `2d4h`, `120d`. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  const pair = (whole: number, unit: string, rest: number, restUnit: string): string => (rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${restUnit}`);
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return pair(days, "d", hours % 24, "h");
  if (days < 2 * 365) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 ? pair(years, "y", days % 365, "d") : `${years}y`;
}
