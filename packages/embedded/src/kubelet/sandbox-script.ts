/**
 * The two scripts of POSIX sh that turn a planned root into a running process.
 *
 *   kubelet ─ supervise.sh ─ unshare, then a shell (new mount, uts and ipc namespaces) ─ assemble.sh (first of a new pid namespace), which becomes the container's command
 *
 * The supervisor outlives the kubelet: it keeps the output pipes open, so that nothing written while no kubelet reads is lost, and leaves the exit code in the file
 * `exit`. It then sleeps until the kubelet has drained the pipes and kills it. The first process of a pid namespace takes all others with it, and dies with the shell
 * above it, so nothing a container started is left. `unshare --fork` is not used: that of util-linux 2.38 reports a child that died by a signal as exit code 1.
 *
 * Files of the container's folder, all written by the scripts: `setup.log` (what the set-up complained of), `pid` (the main process, in the host's numbers), `started`
 * (no longer empty just before the command takes over), `failure` (why the command cannot be run, else empty), `exit` (the code).
 */
import { KEEP_INPUT_OPEN } from "./container-input.ts";
import type { SandboxStep } from "./sandbox.ts";
import { shellCommand, shellQuote } from "./shell-quote.ts";

export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

export interface ScriptSpec {
  readonly directory: string;
  /** The host folder that becomes the root, with everything in it that is not mounted. */
  readonly root: string;
  readonly steps: readonly SandboxStep[];
  readonly hostname: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly command: readonly string[];
  /** Left out: root (or the one user that a user namespace maps). */
  readonly user?: ContainerUser;
  /** A pod of an ordinary user gets a user namespace, in which it is root. */
  readonly rootless: boolean;
  /** The command has an input that is written to while it runs; see `container-input.ts`. */
  readonly stdin?: boolean;
  /** The command has a terminal. */
  readonly tty?: boolean;
  /** The file through which a process joins the memory cgroup. */
  readonly cgroupProcs?: string;
}

/** Started by the kubelet, detached; argv is empty, everything is in the file. */
export function superviseScript(spec: Pick<ScriptSpec, "directory" | "rootless" | "cgroupProcs" | "stdin">): string {
  const namespaces = ["--mount", "--uts", "--ipc", "--pid", "--propagation", "slave"];
  const inner = ["/bin/sh", "-c", "setpriv --pdeathsig KILL /bin/sh ./assemble.sh; exit $?"];
  const unshare = shellCommand(["unshare", ...(spec.rootless ? ["--user", "--map-root-user"] : []), ...namespaces, ...inner]);
  return lines(
    "set -u",
    `cd ${shellQuote(spec.directory)} || exit 1`,
    "umask 077",
    "exec 3<>stdout.fifo 4<>stderr.fifo",
    ...(spec.cgroupProcs === undefined ? [] : [`echo 0 > ${shellQuote(spec.cgroupProcs)} || echo "cannot join the memory cgroup" >> setup.log`]),
    ...(spec.stdin === true ? [KEEP_INPUT_OPEN] : []),
    `${unshare} < ${spec.stdin === true ? "stdin.fifo" : "/dev/null"} >> setup.log 2>&1`,
    "code=$?",
    "echo $code > exit.new && mv exit.new exit",
    "exec sleep 2147483647",
  );
}

/** Runs as the first process of the new namespaces and becomes the command. */
export function assembleScript(spec: ScriptSpec): string {
  return lines(
    "set -e",
    "umask 022",
    // /proc is still the host's here, so this is the pid by which the host knows this process.
    "read -r pid rest < /proc/self/stat",
    "echo $pid > pid",
    "bind_ro() {",
    // In a user namespace flags inherited from the host are locked and must be repeated.
    '  mount --rbind -o ro "$1" "$2" 2>/dev/null || {',
    '    mountpoint -q "$2" || mount --rbind "$1" "$2"',
    '    mount -o remount,bind,ro "$2" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev "$2" 2>/dev/null || mount -o remount,bind,ro,nosuid,nodev,noexec "$2"',
    "  }",
    "}",
    `R=${shellQuote(spec.root)}`,
    'mount --bind "$R" "$R"',
    ...spec.steps.map(stepLine),
    // In a user namespace only the system call may, and a machine without the program keeps its name.
    `hostname ${shellQuote(spec.hostname)} 2>/dev/null || { echo ${shellQuote(spec.hostname)} > /proc/sys/kernel/hostname; } 2>/dev/null || :`,
    // Opened now, because the host's side is out of reach once the root has changed.
    "exec 7>started 8>failure",
    'cd "$R"',
    "pivot_root . .old",
    "cd /",
    // The namespace's copy of the host's mounts goes, or it would keep volumes busy that the host has let go.
    "umount -l /.old",
    "rmdir /.old",
    "set +e",
    `cd ${shellQuote(spec.workingDir)} 2>/dev/null || { mkdir -p ${shellQuote(spec.workingDir)} && cd ${shellQuote(spec.workingDir)}; } || { echo ${shellQuote(`chdir to cwd ("${spec.workingDir}") set in config failed`)} >&8; exit 127; }`,
    ...environmentLines(spec.environment),
    ...commandLines(spec),
  );
}

function stepLine(step: SandboxStep): string {
  const at = `"$R"${shellQuote(step.path)}`;
  switch (step.mount) {
    case "bind":
      return step.readOnly ? `bind_ro ${shellQuote(step.source)} ${at}` : `mount --rbind ${shellQuote(step.source)} ${at}`;
    case "proc":
      // A host that hides parts of its own /proc lets no user namespace mount a fresh one.
      return `mount -t proc proc ${at} 2>/dev/null || mount --rbind /proc ${at}`;
    case "devpts":
      return `mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts ${at}`;
  }
}

const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Values go through the script's text (a private file), never through an argument list that others could read. */
function environmentLines(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment)
    .filter(([name]) => SHELL_NAME.test(name))
    .map(([name, value]) => `export ${name}=${shellQuote(value)}`);
}

function commandLines(spec: ScriptSpec): string[] {
  const program = spec.command[0] ?? "";
  // Kubernetes allows names such as `my.setting`, which no shell can export.
  const odd = Object.entries(spec.environment).filter(([name]) => !SHELL_NAME.test(name));
  const prefix = [
    ...(odd.length === 0 ? [] : ["/usr/bin/env", ...odd.map(([name, value]) => `${name}=${value}`)]),
    ...(spec.user === undefined || spec.rootless ? [] : ["/usr/bin/setpriv", ...setprivArguments(spec.user)]),
  ];
  const missing = `exec: "${program}": ${program.includes("/") ? "no such file or directory" : "executable file not found in $PATH"}`;
  return [
    `command -v ${shellQuote(program)} >/dev/null 2>&1 || { echo ${shellQuote(missing)} >&8; exit 127; }`,
    "echo >&7",
    "exec >&3 2>&4 3>&- 4>&- 7>&- 8>&-",
    `exec ${shellCommand(spec.tty === true ? [...prefix, ...inTerminal(`exec ${shellCommand(spec.command)}`)] : [...prefix, ...spec.command])}`,
  ];
}

/** `script` makes a terminal of a pipe; it passes on the exit code and writes nothing of its own. */
export function inTerminal(commandLine: string): string[] {
  return ["script", "-qefc", commandLine, "/dev/null"];
}

export function setprivArguments(user: ContainerUser): string[] {
  return [`--reuid=${user.uid}`, `--regid=${user.gid}`, user.groups.length === 0 ? "--clear-groups" : `--groups=${user.groups.join(",")}`];
}

function lines(...all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
