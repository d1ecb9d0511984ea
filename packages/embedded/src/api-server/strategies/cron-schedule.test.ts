import { describe, expect, it } from "vitest";
import { scheduleProblem } from "./cron-schedule.ts";

describe("the schedule of a CronJob", () => {
  it.each(["*/5 * * * *", "0 3 1-5,20 jan-mar MON", "5/10 ? * * 0-6/2", "@daily", "@every 1h30m"])("may be %s", (schedule) => {
    expect(scheduleProblem(schedule)).toBeUndefined();
  });
  it.each([
    ["whenever", "expected exactly 5 fields, found 1: [whenever]"],
    ["61 * * * *", "end of range (61) above maximum (59): 61"],
    ["* * 0 * *", "beginning of range (0) below minimum (1): 0"],
    ["* 5-3 * * *", "beginning of range (5) beyond end of range (3): 5-3"],
    ["*/0 * * * *", "step of range should be a positive number: */0"],
    ["* * * * sunday", 'failed to parse int from sunday: strconv.Atoi: parsing "sunday": invalid syntax'],
    ["1-2-3 * * * *", "too many hyphens: 1-2-3"],
    ["@often", "unrecognized descriptor: @often"],
    ["TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"],
  ])("is refused as %s", (schedule, problem) => {
    expect(scheduleProblem(schedule)).toBe(problem);
  });
});
