import { hasCode } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { type HostKind, type HostView, planSandbox, type SandboxMount, type SandboxStep } from "./sandbox.ts";

/** A host of a few paths: `null` is a folder, text starting with `->` a link, `"file"` and `"device"` what they say. */
function hostOf(entries: Readonly<Record<string, string | null>>): HostView {
  const all: Record<string, string | null> = {
    "/rw/rw/tmp": null,
    "/rw/rw/home": null,
    "/rw/rw/root": null,
    "/rw/rw/srv": null,
    "/rw/rw/mnt": null,
    "/rw/rw/var": null,
    ...entries,
  };
  return {
    kind: (path): HostKind => {
      const entry = all[path];
      if (entry === undefined) return Object.keys(all).some((other) => other.startsWith(`${path}/`)) ? "directory" : "absent";
      if (entry === null) return "directory";
      return entry.startsWith("->") ? "link" : (entry as HostKind);
    },
    readLink: (path) => (all[path] ?? "").slice(2),
    children: (path) =>
      [...new Set(Object.keys(all).flatMap((other) => (other.startsWith(`${path}/`) ? [other.slice(path.length + 1).split("/")[0] ?? ""] : [])))].sort(),
  };
}

const plan = (mounts: readonly SandboxMount[], host: HostView): readonly SandboxStep[] => planSandbox({ directory: "/rw", mounts }, host);
const mount = (target: string, source = "/v"): SandboxMount => ({ source, target, readOnly: false });
const touching = (steps: readonly SandboxStep[], path: string) => steps.filter((step) => step.path === path).map((step) => step.do);

describe("planSandbox", () => {
  it("binds the host's folders read-only and keeps its links", () => {
    const steps = plan([], hostOf({ "/usr/bin/sh": "file", "/bin": "->usr/bin", "/etc/passwd": "file" }));
    expect(steps).toContainEqual({ do: "bind", source: "/usr", path: "/usr", readOnly: true });
    expect(steps).toContainEqual({ do: "link", path: "/bin", target: "usr/bin" });
    expect(steps.filter((step) => step.do === "bind" && step.path.startsWith("/home"))).toEqual([
      { do: "bind", source: "/rw/rw/home", path: "/home", readOnly: false },
    ]);
  });

  it("makes a mount point in a folder of the container's own", () => {
    const steps = plan([mount("/data/deep")], hostOf({ "/v": null }));
    expect(touching(steps, "/data/deep")).toEqual(["directory", "bind"]);
  });

  it("mounts a file over a file and a device at its path", () => {
    const steps = plan([mount("/one/file", "/f"), mount("/dev/xvda", "/d")], hostOf({ "/f": "file", "/d": "device" }));
    expect(touching(steps, "/one/file")).toEqual(["file", "bind"]);
    expect(touching(steps, "/one")).toEqual(["directory"]);
    expect(touching(steps, "/dev/xvda")).toEqual(["file", "bind"]);
  });

  it("follows links of the container, never of the host", () => {
    const steps = plan([mount("/var/run/secrets/x"), mount("/bin/extra")], hostOf({ "/v": null, "/bin": "->/usr/bin", "/usr/bin/sh": "file" }));
    expect(touching(steps, "/run/secrets/x")).toEqual(["directory", "bind"]);
    expect(touching(steps, "/usr/bin/extra")).toEqual(["directory", "bind"]);
  });

  it("shows a read-only folder's children again when something must be added to it", () => {
    const steps = plan([mount("/etc/app/config")], hostOf({ "/v": null, "/etc/passwd": "file", "/etc/ssl": null, "/etc/mtab": "->/proc/mounts" }));
    const from = steps.findIndex((step) => step.do === "tmpfs" && step.path === "/etc");
    expect(steps.slice(from)).toEqual([
      { do: "tmpfs", path: "/etc", mode: "0755" },
      { do: "link", path: "/etc/mtab", target: "/proc/mounts" },
      { do: "file", path: "/etc/passwd" },
      { do: "bind", source: "/etc/passwd", path: "/etc/passwd", readOnly: true },
      { do: "directory", path: "/etc/ssl" },
      { do: "bind", source: "/etc/ssl", path: "/etc/ssl", readOnly: true },
      { do: "directory", path: "/etc/app/config" },
      { do: "bind", source: "/v", path: "/etc/app/config", readOnly: false },
    ]);
  });

  it("shadows a folder once, however many mounts it gets", () => {
    const steps = plan([mount("/etc/a"), mount("/etc/b"), mount("/etc/ssl/c")], hostOf({ "/v": null, "/etc/ssl/certs": null }));
    expect(touching(steps, "/etc").filter((step) => step === "tmpfs")).toHaveLength(1);
    expect(touching(steps, "/etc/ssl").filter((step) => step === "tmpfs")).toHaveLength(1);
  });

  it("puts a mount inside another one, whatever their order", () => {
    const steps = plan([mount("/data/inner"), mount("/data", "/w")], hostOf({ "/v": null, "/w": null }));
    expect(steps.findIndex((step) => step.do === "bind" && step.path === "/data")).toBeLessThan(
      steps.findIndex((step) => step.do === "bind" && step.path === "/data/inner"),
    );
  });

  it.each([
    ["a source that is not there", [mount("/x", "/absent")], /source is absent/],
    ["the root itself", [mount("/")], /cannot be replaced/],
    ["a folder where the container has a file", [mount("/etc/passwd")], /has a file there/],
    ["links that go in a circle", [mount("/loop/x")], /symbolic links/],
  ])("refuses %s", (_name, mounts, message) => {
    const host = hostOf({ "/v": null, "/etc/passwd": "file", "/opt/loop": "->loop", "/lib": "->/lib" });
    const wanted = mounts.map((each) => (each.target === "/loop/x" ? { ...each, target: "/opt/loop/x" } : each));
    let thrown: unknown;
    try {
      plan(wanted, host);
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, "NOT_SUPPORTED")).toBe(true);
    expect(String(thrown)).toMatch(message);
  });
});
