import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readContainerLog } from "./container-log.ts";
import { type ContainerLaunch, ContainerRuntime, type RunningContainer } from "./container-runtime.ts";
import { execInContainer } from "./exec.ts";
import { identifyProcess, isRunning } from "./process-identity.ts";

const isRoot = process.getuid?.() === 0;

// Root can do what an ordinary user does too: run its pods in user namespaces.
describe.each(isRoot ? [false, true] : [true])("container runtime, rootless %s", (rootless) => {
  let folder: string;
  let runtime: ContainerRuntime;
  let opened: RunningContainer[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dray-run-"));
    runtime = new ContainerRuntime({ clock: systemClock, logger: nullLogger, rootless });
    opened = [];
  });
  afterEach(async () => {
    for (const container of opened) {
      await container.stop(0);
      container.release();
    }
    for (const attempt of ["0", "1"]) runtime.remove(join(folder, attempt));
    rmSync(folder, { recursive: true, force: true });
  });

  const run = async (script: string, extra: Partial<ContainerLaunch> = {}): Promise<RunningContainer> => {
    const launch: ContainerLaunch = {
      identity: { namespace: "ns", pod: "p", podUid: "uid", container: "c", attempt: 0 },
      id: "0123",
      image: "busybox",
      hostname: "p",
      command: ["sh", "-c", script],
      environment: { PATH: "/usr/local/bin:/usr/bin:/bin" },
      workingDir: "/",
      mounts: [],
      terminationMessagePath: "/dev/termination-log",
      ...extra,
    };
    const container = await runtime.start(join(folder, "0"), launch, join(folder, "logs", "0.log"), () => undefined);
    opened.push(container);
    return container;
  };
  const logOf = async (container: RunningContainer): Promise<string> => {
    const parts: Buffer[] = [];
    for await (const part of readContainerLog(container.log.path)) parts.push(part);
    return Buffer.concat(parts).toString();
  };

  it("runs a command with its own root, process numbers and name, and keeps its output and exit code", async () => {
    const container = await run("echo $$; hostname; pwd; echo 'it'\\''s' >&2; ls -A /tmp; echo done > /dev/termination-log; exit 7", {
      environment: { PATH: "/usr/bin:/bin", "odd.name": "1", QUOTED: "a 'b' \"c\"\n$d" },
    });
    expect(await container.finished()).toMatchObject({ exitCode: 7, reason: "Error", message: "done\n" });
    expect(await logOf(container)).toBe("1\np\n/\nit's\n");
  });

  it("has an input that stays open while nobody writes, also through another kubelet, until it is ended", async () => {
    const container = await run("while read -r line; do echo got $line; done; echo end", { stdin: true });
    await container.started();
    void container.input?.write(Buffer.from("one\n"));
    container.release();
    const adopted = runtime.adopt(join(folder, "0"), () => undefined) as RunningContainer;
    opened.push(adopted);
    void adopted.input?.write(Buffer.from("two\nthr"));
    void adopted.input?.write(Buffer.from("ee\n"));
    adopted.input?.end();
    expect(await adopted.finished()).toMatchObject({ exitCode: 0 });
    expect(await logOf(adopted)).toBe("got one\ngot two\ngot three\nend\n");
  });

  it("has a terminal when it asks for one", async () => {
    const container = await run("tty | sed 's/[0-9]*$/N/'; exit 3", { tty: true });
    expect(await container.finished()).toMatchObject({ exitCode: 3 });
    expect(await logOf(container)).toBe("/dev/pts/N\r\n");
  });

  it("passes any environment value on unchanged", async () => {
    const value = "a 'b' \"c\"\n$d `e` \\";
    const environment = { PATH: "/usr/bin:/bin", "odd.name": "yes", VALUE: value };
    const container = await run("", { command: ["env", "-u", "PATH"], environment });
    await container.finished();
    expect((await logOf(container)).replace(/^PWD=.*\n/m, "")).toContain(`VALUE=${value}\n`);
    expect(await logOf(container)).toContain("odd.name=yes\n");
  });

  it("binds volumes at their paths, also inside read-only folders, and honours read-only", async () => {
    const volume = join(folder, "volume");
    mkdirSync(volume);
    writeFileSync(join(volume, "file"), "content\n");
    const container = await run(
      "cat /var/run/x/file /etc/app/config/file /one; echo new > /data/deep/er/out; touch /var/run/x/no 2>/dev/null || echo refused; cat /etc/hosts | wc -l; ls /usr/bin | wc -l",
      {
        mounts: [
          { source: volume, target: "/var/run/x", readOnly: true },
          { source: volume, target: "/etc/app/config", readOnly: true },
          { source: volume, target: "/data/deep/er", readOnly: false },
          { source: join(volume, "file"), target: "/one", readOnly: true },
        ],
      },
    );
    expect(await container.finished()).toMatchObject({ exitCode: 0 });
    expect(await logOf(container)).toMatch(/^content\ncontent\ncontent\nrefused\n[1-9]\d*\n[1-9]\d*\n$/);
    expect(readFileSync(join(volume, "out"), "utf8")).toBe("new\n");
  });

  it("leaves the host's folders unwritable and shows none of the host's processes", async () => {
    const container = await run("touch /usr/dray-test 2>/dev/null || echo refused; ls /proc | grep -c '^[0-9]'; cat /proc/mounts | grep -c ' /.old'");
    await container.finished();
    expect(await logOf(container)).toMatch(/^refused\n[1-4]\n0\n$/);
    expect(existsSync("/usr/dray-test")).toBe(false);
  });

  it("says why a command cannot be started", async () => {
    const container = await run("", { command: ["no-such-program"] });
    expect(await container.finished()).toMatchObject({
      exitCode: 128,
      reason: "StartError",
      message: 'exec: "no-such-program": executable file not found in $PATH',
    });
  });

  it("says why a root cannot be set up", async () => {
    await expect(run("true", { mounts: [{ source: join(folder, "absent"), target: "/x", readOnly: false }] })).rejects.toThrow(/the source is absent/);
  });

  it("ends a command without a handler at once, and gives one with a handler its time", async () => {
    const deaf = await run("sleep 100");
    await deaf.started();
    await deaf.stop(60_000);
    expect(await deaf.finished()).toMatchObject({ exitCode: 143, reason: "Error" });
    runtime.remove(deaf.directory);

    const polite = await run("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    await untilLog(polite, "ready");
    await polite.stop(60_000);
    expect(await polite.finished()).toMatchObject({ exitCode: 3 });
    expect(await logOf(polite)).toBe("ready\nbye\n");
  });

  it("leaves no process when the main one is killed", async () => {
    const container = await run("sleep 1000 & setsid sleep 1000 & echo ready; wait");
    await untilLog(container, "ready");
    const main = container.process;
    if (main === undefined) throw new Error("does not run");
    const children = readFileSync(`/proc/${main.pid}/task/${main.pid}/children`, "utf8").trim().split(" ").map(Number);
    const identities = children.map(identifyProcess);
    process.kill(main.pid, "SIGKILL");
    expect(await container.finished()).toMatchObject({ exitCode: 137, reason: "Error" });
    expect(children.length).toBe(2);
    expect(identities.filter((identity) => identity !== undefined && isRunning(identity))).toEqual([]);
    await expect.poll(() => isRunning(container.record.supervisor)).toBe(false);
  });

  it("finds a running container again and loses nothing that was written meanwhile", async () => {
    const first = await run("echo one; sleep 0.2; echo two; sleep 0.1; exit 5");
    await untilLog(first, "one");
    first.release();
    opened.length = 0;
    const second = runtime.adopt(first.directory, () => undefined);
    if (second === undefined) throw new Error("not found again");
    opened.push(second);
    expect(await second.finished()).toMatchObject({ exitCode: 5 });
    expect(await logOf(second)).toBe("one\ntwo\n");
    expect(runtime.adopt(first.directory, () => undefined)?.result).toMatchObject({ exitCode: 5 });
  });

  it("reports a container whose supervisor was killed", async () => {
    const container = await run("sleep 1000");
    await container.started();
    const main = container.process;
    process.kill(-container.record.supervisor.pid, "SIGKILL");
    expect(await container.finished()).toMatchObject({ exitCode: 137, reason: "ContainerStatusUnknown" });
    expect(main !== undefined && isRunning(main)).toBe(false);
  });

  it("runs further commands inside, with stdin, exit code and a terminal", async () => {
    const container = await run("sleep 1000", { environment: { PATH: "/usr/bin:/bin", WHO: "me" }, workingDir: "/var/lib" });
    await container.started();
    const exec = async (command: string[], input: string, tty = false): Promise<{ code: number | null; out: string }> => {
      const child = execInContainer(container.record, container.process, rootless, { command, stdin: true, tty });
      let out = "";
      child.stdout?.on("data", (chunk: Buffer) => {
        out += chunk.toString();
      });
      // One that reads nothing may have ended before.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
      const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
      return { code, out };
    };
    expect(await exec(["sh", "-c", "cat; echo $WHO; pwd; hostname; exit 9"], "input\n")).toEqual({ code: 9, out: "input\nme\n/var/lib\np\n" });
    expect(await exec(["sh", "-c", "test -t 1 && echo terminal; exit 4"], "", true)).toMatchObject({ code: 4, out: expect.stringContaining("terminal") });
  });

  const memoryTest = async (): Promise<void> => {
    const container = await run("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo $x | wc -c", { memoryLimitBytes: 32 << 20 });
    expect(await container.finished()).toMatchObject({ exitCode: expect.any(Number), reason: "OOMKilled" });
  };
  if (!rootless) it("kills a container that uses more memory than its limit, and says so", memoryTest);

  async function untilLog(container: RunningContainer, text: string): Promise<void> {
    while (!(await logOf(container)).includes(text)) {
      const changed = Promise.withResolvers<void>();
      const stop = container.log.onChange(changed.resolve);
      if (!(await logOf(container)).includes(text)) await changed.promise;
      stop();
    }
  }
});
