import { describe, expect, it } from "vitest";
import type { ApiObject, JsonObject } from "../json.ts";
import { statusText } from "./pod-columns.ts";

const pod = (status: JsonObject, metadata: JsonObject = {}, spec: JsonObject = {}): ApiObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata,
  spec: { containers: [{ name: "main" }], ...spec },
  status,
});
const container = (state: JsonObject, more: JsonObject = {}): JsonObject => ({ name: "main", state, ready: false, ...more });
const deleted = { deletionTimestamp: "2026-01-01T00:00:00Z" };

describe("the status of a pod", () => {
  it.each<[string, ApiObject]>([
    ["Pending", pod({ phase: "Pending" })],
    ["ContainerCreating", pod({ phase: "Pending", containerStatuses: [container({ waiting: { reason: "ContainerCreating" } })] })],
    ["ImagePullBackOff", pod({ phase: "Pending", containerStatuses: [container({ waiting: { reason: "ImagePullBackOff" } })] })],
    ["Running", pod({ phase: "Running", containerStatuses: [container({ running: {} }, { ready: true })] })],
    ["Error", pod({ phase: "Failed", containerStatuses: [container({ terminated: { reason: "Error", exitCode: 1 } })] })],
    ["ExitCode:3", pod({ phase: "Failed", containerStatuses: [container({ terminated: { exitCode: 3 } })] })],
    ["Signal:9", pod({ phase: "Failed", containerStatuses: [container({ terminated: { exitCode: 137, signal: 9 } })] })],
    ["Completed", pod({ phase: "Succeeded", containerStatuses: [container({ terminated: { reason: "Completed", exitCode: 0 } })] })],
    [
      "NotReady",
      pod({
        phase: "Running",
        containerStatuses: [container({ terminated: { reason: "Completed", exitCode: 0 } }), container({ running: {} }, { ready: true })],
      }),
    ],
    ["Init:0/1", pod({ phase: "Pending", initContainerStatuses: [container({ running: {} })] }, {}, { initContainers: [{ name: "main" }] })],
    [
      "Init:Error",
      pod(
        { phase: "Pending", initContainerStatuses: [container({ terminated: { reason: "Error", exitCode: 1 } })] },
        {},
        { initContainers: [{ name: "main" }] },
      ),
    ],
    ["Evicted", pod({ phase: "Failed", reason: "Evicted" })],
    ["Terminating", pod({ phase: "Running" }, deleted)],
    ["Unknown", pod({ phase: "Running", reason: "NodeLost" }, deleted)],
  ])("is %s", (text, object) => {
    expect(statusText(object)).toBe(text);
  });
});
