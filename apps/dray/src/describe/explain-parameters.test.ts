import { expect, it } from "vitest";
import { explainParameters } from "./explain-parameters.ts";

const mover = {
  name: "vm",
  version: "1.2.0",
  description: "Disks of machines",
  parameters: {
    type: "object",
    required: ["format"],
    properties: {
      format: { type: "string", enum: ["raw", "qcow2"], default: "qcow2", description: "Type of the files" },
      disks: {
        type: "array",
        description: "Which disks",
        items: {
          type: "object",
          required: ["name"],
          properties: { name: { type: "string", description: "Its name", pattern: "^d" }, copies: { type: "integer", minimum: 1, maximum: 3 } },
        },
      },
    },
  },
};
const explained = (...path: string[]): string => explainParameters(mover, path).join("\n");

it("explains all parameters of a mover", () => {
  expect(explained()).toBe(`MOVER:    vm
VERSION:  1.2.0

DESCRIPTION:
    Disks of machines

FIELDS:
  format\t<string> -required-
    ENUM: "raw", "qcow2"
    DEFAULT: "qcow2"
    Type of the files

  disks\t<[]Object>
    Which disks
`);
});

it("explains one by its path, and what lies below it", () => {
  expect(explained("format")).toContain(
    'FIELD: format <string> -required-\n\nDESCRIPTION:\n    Type of the files\n  ENUM: "raw", "qcow2"\n  DEFAULT: "qcow2"\n',
  );
  expect(explained("disks")).toContain(
    "FIELD: disks <[]Object>\n\nDESCRIPTION:\n    Which disks\n\nFIELDS:\n  name\t<string> -required-\n    PATTERN: ^d\n    Its name\n",
  );
  expect(explained("disks", "copies")).toContain("FIELD: copies <integer>\n\nDESCRIPTION:\n    <none>\n  MINIMUM: 1\n  MAXIMUM: 3\n");
});

it("names the fields that there are when asked for another", () => {
  expect(() => explained("disks", "size")).toThrow(/Cannot explain "vm\.disks\.size": "vm\.disks" has no field "size"/);
  expect(() => explained("constructor")).toThrow(/"vm" has no field "constructor"/);
});
