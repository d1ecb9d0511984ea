import { describe, expect, it } from "vitest";
import { parseCron } from "./cron.ts";

const iso = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString().replace(".000Z", "Z"));
const next = (expression: string, after: string): string | undefined => iso(parseCron(expression, "UTC").next(Date.parse(after)));

describe("parseCron", () => {
  // The rows that begin with a plain time are those of robfig/cron's own table of activations, said in other words.
  it.each([
    ["0/15 * * * *", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"],
    ["0/15 * * * *", "2026-07-09T14:59:59Z", "2026-07-09T15:00:00Z"],
    ["*/15 * * * *", "2026-07-09T14:46:00Z", "2026-07-09T15:00:00Z"],
    ["20-35/15 * * * *", "2026-07-09T15:45:00Z", "2026-07-09T16:20:00Z"],
    ["0 3 * * *", "2026-11-21T04:12:42Z", "2026-11-22T03:00:00Z"],
    ["0 3 * * *", "2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z"],
    ["0 0 31 12 *", "2026-12-31T00:00:00Z", "2027-12-31T00:00:00Z"],
    ["0 0 29 feb ?", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"],
    ["0 0 * * mon-fri", "2026-11-27T00:00:00Z", "2026-11-30T00:00:00Z"],
    ["0 0 1,15 * 0", "2026-11-02T00:00:00Z", "2026-11-08T00:00:00Z"],
    ["0 0 * * 0", "2026-11-02T00:00:00Z", "2026-11-08T00:00:00Z"],
    // A step makes a star a restriction, so that either day field is enough.
    ["0 0 */10 * sun", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"],
    ["@hourly", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"],
    ["@weekly", "2026-11-28T03:00:00Z", "2026-11-29T00:00:00Z"],
    ["@yearly", "2026-11-28T03:00:00Z", "2027-01-01T00:00:00Z"],
    ["@every 1h30m", "2026-07-09T14:45:10.600Z", "2026-07-09T16:15:10Z"],
    ["@every 5ms", "2026-07-09T14:45:10Z", "2026-07-09T14:45:11Z"],
    ["TZ=America/New_York 0 3 * * *", "2026-11-28T00:00:00Z", "2026-11-28T08:00:00Z"],
    ["CRON_TZ=Asia/Kathmandu 15 1 1 * *", "2026-11-02T00:00:00Z", "2026-11-30T19:30:00Z"],
  ])("%s after %s is due at %s", (expression, after, wanted) => expect(next(expression, after)).toBe(wanted));

  it("leaves out a day whose clock skips the time, and meets twice what the clock shows twice", () => {
    expect(next("TZ=America/New_York 30 2 8 3 *", "2026-03-01T00:00:00Z")).toBe("2027-03-08T07:30:00Z");
    const schedule = parseCron("TZ=America/New_York 30 1 * * *", "UTC");
    const first = schedule.next(Date.parse("2026-11-01T00:00:00Z"));
    expect(iso(first)).toBe("2026-11-01T05:30:00Z");
    expect(iso(schedule.next(first ?? 0))).toBe("2026-11-01T06:30:00Z");
  });

  it("finds nothing for a day that no year has", () => expect(next("0 0 30 2 *", "2026-01-01T00:00:00Z")).toBeUndefined());

  it.each([
    ["", "it has 0 fields"],
    ["* * * *", "it has 4 fields"],
    ["0 0 * * * *", "it has 6 fields"],
    ["60 * * * *", 'minute "60" is outside of 0 to 59'],
    ["* * 0 * *", 'day of month "0" is outside of 1 to 31'],
    ["* * * * 7", 'day of week "7" is outside of 0 to 6'],
    ["5-3 * * * *", 'minute "5-3" begins after its end'],
    ["*/0 * * * *", 'minute "*/0" has a step of 0'],
    ["1/2/3 * * * *", "more than one slash"],
    ["1-2-3 * * * *", "more than one hyphen"],
    ["x * * * *", 'has "x", where a number is wanted'],
    ["-1 * * * *", "where a number is wanted"],
    ["@never", 'descriptor "@never" is none of'],
    ["@every soon", '"soon" is no duration'],
    ["TZ=Nowhere/Land 0 0 * * *", 'time zone "Nowhere/Land" is not known'],
    ["TZ=UTC", "nothing follows it"],
  ])("refuses %j: %s", (expression, message) => expect(() => parseCron(expression, "UTC")).toThrow(message));
});
