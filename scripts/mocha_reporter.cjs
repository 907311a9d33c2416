// Mocha's spec reporter that also writes its counts where PARTLENS_TEST_COUNTS says.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = this.stats;
      const path = process.env.PARTLENS_TEST_COUNTS;
      const counts = { passed: passes, failed: failures, skipped: pending };
      if (path) writeFileSync(path, JSON.stringify(counts));
    });
  }
};
