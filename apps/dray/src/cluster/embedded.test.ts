import { describe, expect, it } from "vitest";
import { clusterFolder, parseImageMap, roleCommand } from "./embedded.ts";

describe("clusterFolder", () => {
  it("is what was given, or a folder of the user's state", () => {
    expect(clusterFolder("c", { env: {}, cwd: "/here" })).toBe("/here/c");
    expect(clusterFolder(undefined, { env: { XDG_STATE_HOME: "/state" }, cwd: "/" })).toBe("/state/drayage/cluster");
    expect(clusterFolder(undefined, { env: { HOME: "/h" }, cwd: "/" })).toBe("/h/.local/state/drayage/cluster");
  });
});

describe("roleCommand", () => {
  it("is this program again, started directly", () => {
    const { command, args } = roleCommand({ role: "node", directory: "/c", nodeName: "n" }, {});
    expect(command).toBe(process.execPath);
    expect(args.slice(1)).toEqual(["embedded", "node", "--name", "n", "--dir", "/c"]);
  });
});

describe("parseImageMap", () => {
  it("reads an image, a host path and where the image has it", () => {
    expect(parseImageMap(`velero/velero:*=${process.execPath}:/velero`)).toEqual({
      pattern: "velero/velero:*",
      mounts: [{ source: process.execPath, target: "/velero", readOnly: true }],
    });
    expect(parseImageMap("tools=/usr")).toEqual({ pattern: "tools", mounts: [{ source: "/usr", target: "/usr", readOnly: true }], path: ["/usr"] });
  });

  it.each([
    ["x", /PATTERN=\/HOST\/PATH/],
    ["x=relative", /PATTERN=\/HOST\/PATH/],
    ["=/usr", /PATTERN=\/HOST\/PATH/],
    ["x=/usr:b", /PATTERN=\/HOST\/PATH/],
    ["x=/no/such/file", /there is no "\/no\/such\/file"/],
  ])("refuses %j", (text, message) => {
    expect(() => parseImageMap(text)).toThrow(message);
  });
});
