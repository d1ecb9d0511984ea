import { describe, expect, it } from "vitest";
import { validLabelValue } from "./label-value.ts";

describe("validLabelValue()", () => {
  it("leaves text of up to 63 characters alone", () => {
    expect(validLabelValue("a".repeat(63))).toBe("a".repeat(63));
  });

  // Operation ids that Velero 1.18.3 wrote for these backup and PVC UIDs.
  it.each([
    ["du-52393790-6c1f-4229-b67e-ce59e977d06a.f5d32380-bdab-45a7-bc7d-73a9115be76a", "du-52393790-6c1f-4229-b67e-ce59e977d06a.f5d32380-bdab-45a15d8e6"],
    ["dd-bab4b181-1204-4db3-ac9c-6e77969edfbd.dab9f27d-a957-40fa-9dc5-fba2bcdcd4b7", "dd-bab4b181-1204-4db3-ac9c-6e77969edfbd.dab9f27d-a957-40fbae8f5"],
  ])("shortens an operation id as Velero does", (raw, id) => {
    expect(validLabelValue(raw)).toBe(id);
  });
});
