import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const MODULE = JSON.stringify(join(import.meta.dirname, "process-logger.ts"));

/** The messages on standard output of a process that logs and ends as the code says. */
function messagesOf(code: string): string[] {
  const program = `import { processLogger } from ${MODULE};\nconst logger = processLogger("info", "test");\n${code}`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module-typescript", "-e", program], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => (JSON.parse(line) as { msg: string }).msg);
}

describe("what a role has logged is on its standard output", () => {
  it.each([
    ["when it ends by itself", 'logger.info("a"); logger.info("b");', ["a", "b"]],
    ["when it exits at once", 'logger.info("a"); process.exit(1);', ["a"]],
    ["when it fails", 'logger.info("a"); throw new Error("broken");', ["a"]],
    ["when it is killed after the turn", 'logger.info("a"); setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);', ["a"]],
    [
      "when it is killed right after an error, with all before it in order",
      'logger.info("a"); logger.error("b"); process.kill(process.pid, "SIGKILL");',
      ["a", "b"],
    ],
    ["when it is more than a batch", 'for (let n = 0; n < 1000; n++) logger.info("x".repeat(100));', Array<string>(1000).fill("x".repeat(100))],
  ])("%s", (_when, code, messages) => {
    expect(messagesOf(code)).toEqual(messages);
  });
});
