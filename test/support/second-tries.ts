import type { Reporter, TestModule } from 'vitest/node'

/**
 * Names, at the end of a run, every test that failed and passed when it was tried again, with what it failed of: each is a
 * fault, of the test or of pgproof, that somebody has to look into.
 */
export class SecondTries implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const said = tests
      .filter((test) => test.diagnostic()?.flaky === true)
      .map((test) => {
        const errors = test.result().errors ?? []
        return [`  ${test.module.relativeModuleId} > ${test.fullName}`, ...errors.map(({ stack }) => stack)].join('\n')
      })
    if (said.length > 0) console.error(`\npassed only when tried again:\n${said.join('\n')}`)
  }
}
