import { hasCode } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { type HostKind, type HostView, planSandbox, type SandboxMount, type SandboxPlan } from "./sandbox.ts";

/** A host of a few paths: `null` is a folder, text starting with `->` a link, `"file"` and `"device"` what they say. */
function hostOf(entries: Readonly<Record<string, string | null>>): HostView {
  return {
    kind: (path): HostKind => {
      const entry = entries[path];
      if (entry === undefined) return Object.keys(entries).some((other) => other.startsWith(`${path}/`)) ? "directory" : "absent";
      if (entry === null) return "directory";
      return entry.startsWith("->") ? "link" : (entry as HostKind);
    },
    readLink: (path) => (entries[path] ?? "").slice(2),
    children: (path) =>
      [...new Set(Object.keys(entries).flatMap((other) => (other.startsWith(`${path}/`) ? [other.slice(path.length + 1).split("/")[0] ?? ""] : [])))].sort(),
  };
}

const plan = (mounts: readonly SandboxMount[], host: HostView): SandboxPlan => planSandbox({ directory: "/c", mounts }, host);
const mount = (target: string, source = "/v"): SandboxMount => ({ source, target, readOnly: false });
/** Where things are mounted, in order, without what every container has. */
const mounted = ({ steps }: SandboxPlan): string[] => steps.map(({ path }) => path).filter((path) => !["/proc", "/dev/pts"].includes(path));
/** What is made of these host paths. */
const made = ({ entries }: SandboxPlan, path: string): string[] => entries.filter((entry) => entry.path === path).map((entry) => entry.make);

describe("planSandbox", () => {
  it("binds the host's folders read-only, keeps its links, and gives the container folders of its own", () => {
    const found = plan([], hostOf({ "/usr/bin/sh": "file", "/bin": "->usr/bin", "/etc/passwd": "file" }));
    expect(found.steps).toContainEqual({ mount: "bind", source: "/usr", path: "/usr", readOnly: true });
    expect(found.entries).toContainEqual({ make: "link", path: "/c/root/bin", target: "usr/bin" });
    expect(found.entries).toContainEqual({ make: "directory", path: "/c/root/tmp", mode: 0o1777 });
    expect(mounted(found)).toEqual(["/usr", "/etc"]);
  });

  it("makes every mount point on the host, below the folder that is shown there", () => {
    const found = plan([mount("/data/deep"), mount("/data/deep/in/volume", "/w")], hostOf({ "/v": null, "/w": null }));
    expect(made(found, "/c/root/data/deep")).toEqual(["directory"]);
    expect(made(found, "/v/in/volume")).toEqual(["directory"]);
    expect(mounted(found)).toEqual(["/data/deep", "/data/deep/in/volume"]);
  });

  it("mounts a file over a file and a device at its path", () => {
    const found = plan([mount("/one/file", "/f"), mount("/dev/xvda", "/d")], hostOf({ "/f": "file", "/d": "device" }));
    expect([made(found, "/c/root/one"), made(found, "/c/root/one/file"), made(found, "/c/root/dev/xvda")]).toEqual([["directory"], ["file"], ["file"]]);
    expect(mounted(found)).toEqual(["/one/file", "/dev/xvda"]);
  });

  it("follows links of the container, never of the host", () => {
    const found = plan([mount("/var/run/secrets/x"), mount("/bin/extra")], hostOf({ "/v": null, "/bin": "->/usr/bin", "/usr/bin/sh": "file" }));
    expect(made(found, "/c/root/run/secrets/x")).toEqual(["directory"]);
    expect(mounted(found)).toEqual(["/usr", "/usr/bin", "/usr/bin/sh", "/usr/bin/extra", "/run/secrets/x"]);
  });

  it("shows a read-only folder's children again when something must be added to it", () => {
    const found = plan([mount("/etc/app/config")], hostOf({ "/v": null, "/etc/passwd": "file", "/etc/ssl": null, "/etc/mtab": "->/proc/mounts" }));
    expect(found.steps.slice(-4)).toEqual([
      { mount: "bind", source: "/c/shadow/0", path: "/etc", readOnly: false },
      { mount: "bind", source: "/etc/passwd", path: "/etc/passwd", readOnly: true },
      { mount: "bind", source: "/etc/ssl", path: "/etc/ssl", readOnly: true },
      { mount: "bind", source: "/v", path: "/etc/app/config", readOnly: false },
    ]);
    expect(found.entries.slice(-4)).toEqual([
      { make: "link", path: "/c/shadow/0/mtab", target: "/proc/mounts" },
      { make: "file", path: "/c/shadow/0/passwd" },
      { make: "directory", path: "/c/shadow/0/ssl", mode: 0o755 },
      { make: "directory", path: "/c/shadow/0/app/config", mode: 0o755 },
    ]);
  });

  it("shadows a folder once, however many mounts it gets", () => {
    const found = plan([mount("/etc/a"), mount("/etc/b"), mount("/etc/ssl/c")], hostOf({ "/v": null, "/etc/ssl/certs": null }));
    expect(mounted(found)).toEqual(["/etc", "/etc", "/etc/ssl", "/etc/a", "/etc/b", "/etc/ssl", "/etc/ssl/certs", "/etc/ssl/c"]);
  });

  it("puts a mount inside another one, whatever their order", () => {
    const found = plan([mount("/data/inner"), mount("/data", "/w")], hostOf({ "/v": null, "/w": null }));
    expect(mounted(found)).toEqual(["/data", "/data/inner"]);
    expect(made(found, "/w/inner")).toEqual(["directory"]);
  });

  it.each<[string, SandboxMount, RegExp]>([
    ["a source that is not there", mount("/x", "/absent"), /source is absent/],
    ["the root itself", mount("/"), /cannot be replaced/],
    ["a folder where the container has a file", mount("/etc/passwd"), /has a file there/],
    ["links that go in a circle", mount("/opt/loop/x"), /symbolic links/],
  ])("refuses %s", (_name, wanted, message) => {
    let thrown: unknown;
    try {
      plan([wanted], hostOf({ "/v": null, "/etc/passwd": "file", "/opt/loop": "->loop" }));
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, "NOT_SUPPORTED")).toBe(true);
    expect(String(thrown)).toMatch(message);
  });
});
