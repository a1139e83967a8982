/** `npm run sim`: see `npm run sim -- --help`. */
import { simCommand } from "../../src/sim/command.ts";

process.exitCode = await simCommand(process.argv.slice(2), {
  line: (text) => console.log(text),
  error: (text) => console.error(text),
  name: "npm run sim --",
});
