import { describe, expect, it } from "vitest";
import { restoreSpecFrom } from "./restore-flags.ts";

describe("restoreSpecFrom()", () => {
  it("says what the flags say", () => {
    expect(
      restoreSpecFrom({
        fromBackup: "b",
        orSelector: "app=a or app in (b,c)",
        statusIncludeResources: ["pods,jobs.batch"],
        statusExcludeResources: ["services"],
        resourceModifierConfigmap: "rules",
      }),
    ).toEqual({
      backupName: "b",
      orLabelSelectors: [{ matchLabels: { app: "a" } }, { matchExpressions: [{ key: "app", operator: "In", values: ["b", "c"] }] }],
      restoreStatus: { includedResources: ["pods", "jobs.batch"], excludedResources: ["services"] },
      resourceModifier: { kind: "ConfigMap", name: "rules" },
    });
  });

  it("refuses both kinds of selectors at once", () => {
    expect(() => restoreSpecFrom({ selector: "a=b", orSelector: "c=d" })).toThrow("--selector and --or-selector together");
  });
});
