import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type PersistentVolume, type Pod, persistentVolumeClaims, type Volume } from "@drayage/kube";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ApiVolumeSources, apiVolumeContent, SERVICE_ACCOUNT_VOLUME } from "./api-volumes.ts";
import { CsiVolumes, type VolumePublisher } from "./csi-volumes.ts";
import { containerMounts, PodVolumes } from "./pod-volumes.ts";
import { writeProjection } from "./projection.ts";

let folder: string;
const clock = new VirtualClock();
const random = seededRandom(1);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-volumes-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const pod = (spec: Partial<Pod["spec"]> = {}): Pod => ({
  metadata: { name: "p", namespace: "ns", uid: "uid-p", labels: { app: "x" } },
  spec: { containers: [{ name: "c" }], automountServiceAccountToken: false, ...spec },
});
const sources: ApiVolumeSources = {
  facts: { podIP: "127.64.0.1", hostIP: "127.0.0.1", nodeName: "n", allocatable: {} },
  caPem: "PEM",
  token: async (_pod, { audience, expirationSeconds }) => `token for ${audience ?? "api"} ${expirationSeconds}`,
  secret: async (name) => (name === "s" ? { metadata: { name }, data: { a: "YQ==", b: "Yg==" } } : undefined),
  configMap: async (name) => (name === "c" ? { metadata: { name }, data: { conf: "text" }, binaryData: { bin: "/wA=" } } : undefined),
};

describe("writeProjection", () => {
  const files = (entries: Readonly<Record<string, string>>) =>
    new Map(Object.entries(entries).map(([path, text]) => [path, { bytes: utf8(text), mode: 0o640 }]));
  const write = (entries: Readonly<Record<string, string>>): void => writeProjection(join(folder, "v"), files(entries), { clock, random });
  const read = (path: string): string => readFileSync(join(folder, "v", path), "utf8");

  it("shows files through one link, so that they change together", () => {
    write({ one: "1", "dir/two": "2" });
    expect([read("one"), read("dir/two")]).toEqual(["1", "2"]);
    expect(readlinkSync(join(folder, "v", "one"))).toBe("..data/one");
    expect(statSync(join(folder, "v", "one")).mode & 0o777).toBe(0o640);
    const before = readlinkSync(join(folder, "v", "..data"));
    write({ one: "new", three: "3" });
    expect(readdirSync(join(folder, "v")).filter((name) => !name.startsWith(".."))).toEqual(["one", "three"]);
    expect([read("one"), existsSync(join(folder, "v", before))]).toEqual(["new", false]);
  });

  it("leaves alone what has not changed", () => {
    write({ one: "1" });
    const before = readlinkSync(join(folder, "v", "..data"));
    write({ one: "1" });
    expect(readlinkSync(join(folder, "v", "..data"))).toBe(before);
  });

  it.each(["/etc/passwd", "../up", "a/../../b", "..data", ""])("refuses the path %j", (path) => {
    expect(() => write({ [path]: "x" })).toThrow(/relative path/);
    expect(existsSync(join(folder, "v"))).toBe(false);
  });
});

describe("apiVolumeContent", () => {
  const contentOf = async (volume: Omit<Volume, "name">): Promise<Record<string, string>> => {
    const content = await apiVolumeContent(pod(), { name: "v", ...volume }, sources);
    return Object.fromEntries([...(content ?? [])].map(([path, file]) => [path, Buffer.from(file.bytes).toString("latin1")]));
  };

  it("gives whole objects, or the keys that were asked for", async () => {
    expect(await contentOf({ secret: { secretName: "s" } })).toEqual({ a: "a", b: "b" });
    expect(await contentOf({ configMap: { name: "c" } })).toEqual({ conf: "text", bin: "\xff\0" });
    expect(await contentOf({ secret: { secretName: "s", items: [{ key: "b", path: "deep/b" }] } })).toEqual({ "deep/b": "b" });
  });

  it("projects a service account as admission arranges it, also where nobody publishes the authority", async () => {
    expect(await contentOf({ ...SERVICE_ACCOUNT_VOLUME })).toEqual({ token: "token for api 3607", "ca.crt": "PEM", namespace: "ns" });
  });

  it("says what is missing, unless it is optional", async () => {
    await expect(contentOf({ secret: { secretName: "none" } })).rejects.toThrow('secret "none" not found');
    await expect(contentOf({ secret: { secretName: "s", items: [{ key: "z", path: "z" }] } })).rejects.toThrow("non-existent secret key: z");
    expect(await contentOf({ secret: { secretName: "none", optional: true } })).toEqual({});
    expect(await apiVolumeContent(pod(), { name: "v", emptyDir: {} }, sources)).toBeUndefined();
  });
});

/** A driver that keeps what is staged and published, and can be made to fail. */
function fakeDriver(): VolumePublisher & { readonly staged: Set<string>; readonly published: Set<string>; failing: "publish" | undefined } {
  const staged = new Set<string>();
  const published = new Set<string>();
  const driver = {
    staged,
    published,
    failing: undefined as "publish" | undefined,
    stage: async (_volume: unknown, path: string): Promise<void> => {
      staged.add(path);
    },
    unstage: async (_handle: string, path: string): Promise<void> => {
      staged.delete(path);
    },
    publish: async (_volume: unknown, { stagingPath, targetPath }: { stagingPath: string; targetPath: string }) => {
      if (!staged.has(stagingPath)) throw new Error("not staged");
      mkdirSync(targetPath, { recursive: true });
      if (driver.failing === "publish") throw new Error("publish failed");
      published.add(targetPath);
    },
    unpublish: async (_handle: string, path: string): Promise<void> => {
      published.delete(path);
      rmSync(path, { recursive: true, force: true });
    },
  };
  return driver;
}

const volume = (over: Partial<PersistentVolume["spec"]> = {}): PersistentVolume => ({
  metadata: { name: "pv" },
  spec: { csi: { driver: "d", volumeHandle: "h" }, claimRef: { uid: "claim" }, ...over },
});

describe("CsiVolumes", () => {
  it("stages once for two pods, and unstages after the last", async () => {
    const driver = fakeDriver();
    const volumes = new CsiVolumes(folder, new Map([["d", driver]]));
    const [one, two] = [await volumes.publish("one", volume(), false), await volumes.publish("two", volume(), false)];
    expect([driver.staged.size, driver.published.size, one === two]).toEqual([1, 2, false]);
    await volumes.unpublishAll("one");
    expect([driver.staged.size, driver.published.size]).toEqual([1, 1]);
    await volumes.unpublishAll("two");
    expect([driver.staged.size, driver.published.size]).toEqual([0, 0]);
  });

  it("takes away what a crash or a failure left, by its record", async () => {
    const driver = fakeDriver();
    driver.failing = "publish";
    await expect(new CsiVolumes(folder, new Map([["d", driver]])).publish("one", volume(), false)).rejects.toThrow("publish failed");
    await new CsiVolumes(folder, new Map([["d", driver]])).unpublishAll("one");
    expect(driver.staged.size).toBe(0);
  });

  it("shows a block volume where kubelets have their devices", async () => {
    const volumes = new CsiVolumes(folder, new Map([["d", fakeDriver()]]));
    await volumes.publish("one", volume({ volumeMode: "Block" }), false);
    expect(readlinkSync(join(folder, "pods", "one", "volumeDevices", "kubernetes.io~csi", "pv"))).toContain("volumeDevices/publish/pv/one");
  });

  it("names a driver that is not there, and a volume of another type", async () => {
    const volumes = new CsiVolumes(folder, new Map());
    await expect(volumes.publish("one", volume(), false)).rejects.toThrow("driver name d not found in the list of registered CSI drivers");
    await expect(volumes.publish("one", { metadata: { name: "pv" }, spec: {} }, false)).rejects.toThrow("its type is not CSI");
  });
});

describe("PodVolumes", () => {
  const claimPhase = { phase: "Bound" as "Bound" | "Pending" };
  const volumesWith = (driver = fakeDriver()): PodVolumes =>
    new PodVolumes({
      directory: folder,
      client: {
        find: async (type) =>
          (type.plural === persistentVolumeClaims.plural
            ? { metadata: { name: "claim", uid: "claim" }, spec: { volumeName: "pv" }, status: claimPhase }
            : volume()) as never,
      },
      csi: new CsiVolumes(folder, new Map([["d", driver]])),
      clock,
      random,
      rootless: true,
    });
  const withVolumes = (...volumes: Volume[]): Pod => pod({ volumes });
  const claimVolume: Volume = { name: "data", persistentVolumeClaim: { claimName: "claim" } };

  it("sets up each type of volume and takes everything away", async () => {
    const host = join(folder, "host");
    mkdirSync(host);
    const volumes = volumesWith();
    const found = await volumes.setUp(
      withVolumes(
        claimVolume,
        { name: "e", emptyDir: {} },
        { name: "s", secret: { secretName: "s" } },
        { name: "h", hostPath: { path: host, type: "Directory" } },
      ),
      sources,
    );
    expect([...found.keys()]).toEqual(["data", "e", "s", "h"]);
    expect(statSync(found.get("e")?.path ?? "").mode & 0o777).toBe(0o777);
    expect(readFileSync(join(found.get("s")?.path ?? "", "a"), "utf8")).toBe("a");
    await volumes.tearDown("uid-p");
    expect([existsSync(join(folder, "pods", "uid-p", "volumes")), existsSync(host)]).toEqual([false, true]);
  });

  it("keeps an emptyDir's content when it is set up again", async () => {
    const volumes = volumesWith();
    const path = (await volumes.setUp(withVolumes({ name: "e", emptyDir: {} }), sources)).get("e")?.path ?? "";
    writeFileSync(join(path, "kept"), "");
    await volumes.setUp(withVolumes({ name: "e", emptyDir: {} }), sources);
    expect(readdirSync(path)).toEqual(["kept"]);
  });

  it("finds the folder of kubelets where this node has it", async () => {
    mkdirSync(join(folder, "pods"), { recursive: true });
    const found = await volumesWith().setUp(withVolumes({ name: "h", hostPath: { path: "/var/lib/kubelet/pods" } }), sources);
    expect(found.get("h")?.path).toBe(join(folder, "pods"));
  });

  it.each<[string, Volume, RegExp]>([
    ["a claim that is not bound", claimVolume, /volume "data" : PVC ns\/claim is not bound/],
    ["a host path that is not there", { name: "h", hostPath: { path: "/no/such/path" } }, /hostPath type check failed/],
    ["a type that is not known", { name: "x", ...{ nfs: { server: "s", path: "/" } } }, /volumes of type "nfs" are not supported/],
    ["a Secret that is not there", { name: "s", secret: { secretName: "none" } }, /volume "s" : secret "none" not found/],
  ])("says why %s cannot be mounted", async (_name, wanted, message) => {
    claimPhase.phase = "Pending";
    await expect(volumesWith().setUp(withVolumes(wanted), sources)).rejects.toThrow(message);
    claimPhase.phase = "Bound";
  });
});

describe("containerMounts", () => {
  const mountsOf = (mount: object) =>
    containerMounts(pod(), { name: "c", volumeMounts: [{ name: "v", mountPath: "/m", ...mount }] }, new Map([["v", { path: folder, readOnly: false }]]), {
      NAME: "sub",
    });

  it("binds a part of a volume, made when it is not there", () => {
    expect(mountsOf({ subPath: "a/b" })).toEqual([{ source: join(folder, "a/b"), target: "/m", readOnly: false }]);
    expect(mountsOf({ subPathExpr: "$(NAME)", readOnly: true })).toEqual([{ source: join(folder, "sub"), target: "/m", readOnly: true }]);
    expect(statSync(join(folder, "a/b")).isDirectory()).toBe(true);
  });

  it("refuses a part that leads out of the volume", () => {
    symlinkSync("/etc", join(folder, "link"));
    expect(() => mountsOf({ subPath: "link/passwd" })).toThrow(/symbolic link/);
    expect(() => mountsOf({ subPath: "../up" })).toThrow(/must not contain/);
  });

  it("names a volume that the pod has not", () => {
    expect(() => containerMounts(pod(), { name: "c", volumeDevices: [{ name: "w", devicePath: "/dev/x" }] }, new Map(), {})).toThrow('cannot find volume "w"');
  });
});
