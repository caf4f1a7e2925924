import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { shellWord } from '../../src/domain/shell-word.ts'

it.each(['main/app', 'main/Weird "db" ü', "it's", '$(touch x)', '`touch x`', 'a\nb', '', '*', '~', '!!', '\\'])(
  '%j - is one word to a real shell, and itself',
  (text) => {
    expect(execFileSync('sh', ['-c', `printf '%s|' ${shellWord(text)}`], { encoding: 'utf8' })).toBe(`${text}|`)
  },
)

it('a plain name - is left as it is', () => {
  expect(shellWord('main/app-2.eu')).toBe('main/app-2.eu')
})
