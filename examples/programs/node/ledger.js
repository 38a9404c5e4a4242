// The sums of a ledger's names, in alphabetical order.
exports.sums = (text) => {
  const totals = new Map();
  for (const line of text.split("\n").filter(Boolean)) {
    const [name, amount] = line.split(/\s+/);
    totals.set(name, (totals.get(name) ?? 0) + Number(amount));
  }
  return [...totals].sort(([a], [b]) => a.localeCompare(b));
};
