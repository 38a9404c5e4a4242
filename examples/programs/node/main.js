// Reads lines "name amount" from standard input and prints the sum of each name: main.js [CURRENCY].
const { sums } = require("./ledger.js");

const currency = process.argv[2] ?? "EUR";
const text = require("fs").readFileSync(0, "utf8");
for (const [name, sum] of sums(text)) {
  console.log(`${name}: ${sum.toFixed(2)} ${currency}`);
}
