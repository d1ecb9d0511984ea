/** A statically linked program in a mount namespace and a root of its own, so that it can have fixed paths such as `/host_pods` without the machine having them. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

export interface RootedOptions {
  /** The folder that becomes the root; made, with what a program expects to find. */
  readonly root: string;
  readonly command: readonly string[];
  /** Folders and files of the machine, writable. */
  readonly mounts: readonly { readonly source: string; readonly target: string }[];
  /** All that it gets. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface RootedProcess {
  readonly root: string;
  /** What it has written to stdout and stderr so far. */
  output(): string;
  /** Undefined while it runs; -1 when a signal ended it. */
  exitCode(): number | undefined;
  stop(): Promise<void>;
}

const DEVICES = ["null", "zero", "random", "urandom"] as const;
const STOP_WITHIN_MS = 5_000;

export function startRooted({ root, command, mounts, environment }: RootedOptions): RootedProcess {
  for (const folder of ["dev", "etc", "home", "proc", "tmp"]) mkdirSync(join(root, folder), { recursive: true });
  touch(join(root, "dev", "termination-log"));
  const all = [...mounts, { source: "/etc", target: "/etc" }, { source: "/proc", target: "/proc" }, ...DEVICES.map((name) => device(`/dev/${name}`))];
  for (const { source, target } of all) {
    if (statSync(source).isDirectory()) mkdirSync(join(root, target), { recursive: true });
    else touch(join(root, target));
  }
  const script = [
    "set -e",
    ...all.map(({ source, target }) => `mount --rbind ${quoted(source)} ${quoted(join(root, target))}`),
    `exec chroot ${quoted(root)} ${command.map(quoted).join(" ")}`,
  ].join("\n");
  // Its own user namespace where this is no root already.
  const namespaces = [...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]), "--mount", "--propagation", "private"];
  const child = spawn("unshare", [...namespaces, "/bin/sh", "-c", script], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], ...environment },
  });
  let output = "";
  let code: number | undefined;
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  const ended = new Promise<void>((resolve) =>
    child.once("close", (exit) => {
      code = exit ?? -1;
      resolve();
    }),
  );
  return {
    root,
    output: () => output,
    exitCode: () => code,
    stop: async () => {
      if (code !== undefined) return;
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), STOP_WITHIN_MS);
      await ended;
      clearTimeout(hard);
    },
  };
}

function device(path: string): { readonly source: string; readonly target: string } {
  return { source: path, target: path };
}

function touch(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  closeSync(openSync(path, "a"));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
