import type { SoakResult } from './run.ts'
import type { Stretch } from './sample.ts'

const [width, left, right] = [860, 60, 20]
const [panelHeight, gap, top] = [130, 46, 34]

type Line = { readonly name: string; readonly color: string; readonly of: (stretch: Stretch) => number }
type Panel = { readonly title: string; readonly lines: readonly Line[] }

const panels: readonly Panel[] = [
  {
    title: 'MB, in each minute',
    lines: [
      { name: 'resident, most', color: '#d08a5c', of: ({ rss }) => rss.most },
      { name: 'resident, middle', color: '#a03c1e', of: ({ rss }) => rss.middle },
      { name: 'taken by V8, middle', color: '#3c8a4e', of: ({ heapSpace }) => heapSpace },
      { name: 'JS heap, least', color: '#2f6f9f', of: ({ heap }) => heap },
    ],
  },
  {
    title: 'at most, in each minute',
    lines: [
      { name: 'open files', color: '#2f6f9f', of: ({ files }) => files },
      { name: 'sockets', color: '#3c8a4e', of: ({ sockets }) => sockets },
      { name: 'threads', color: '#a03c1e', of: ({ threads }) => threads },
    ],
  },
  {
    title: 'at most, in each minute',
    lines: [
      { name: 'child processes', color: '#2f6f9f', of: ({ children }) => children },
      { name: 'sessions on the server', color: '#a03c1e', of: ({ sessions }) => sessions },
      { name: 'files in the spool', color: '#3c8a4e', of: ({ spoolFiles }) => spoolFiles },
    ],
  },
]

/** An SVG of the stretches over the backups made. Dashed: the daemon was killed and started anew. */
export function soakFigure({ stretches }: SoakResult): string {
  const most = Math.max(1, ...stretches.map(({ cycles }) => cycles))
  const x = (cycles: number): number => left + (cycles / most) * (width - left - right)
  const height = top + panels.length * (panelHeight + gap)
  const restarts = stretches.flatMap(({ cycles, daemon }, index) =>
    index > 0 && daemon !== stretches[index - 1]?.daemon ? [x(cycles)] : [],
  )
  const drawn = panels.flatMap(({ title, lines }, index) => {
    const bottom = top + index * (panelHeight + gap) + panelHeight
    const ceiling = Math.max(1, ...lines.flatMap(({ of }) => stretches.map(of))) * 1.1
    const y = (value: number): number => bottom - (value / ceiling) * panelHeight
    const marks = [0, 0.5, 1].map((share) => Math.round((share * ceiling) / 1.1))
    return [
      `<text x="${left}" y="${bottom - panelHeight - 6}">${title}</text>`,
      ...marks.map(
        (mark) =>
          `<path d="M${left} ${round(y(mark))}H${width - right}" stroke="#ddd"/><text x="${left - 6}" y="${round(y(mark) + 4)}" text-anchor="end">${mark}</text>`,
      ),
      ...restarts.map(
        (at) => `<path d="M${round(at)} ${bottom - panelHeight}V${bottom}" stroke="#999" stroke-dasharray="3 3"/>`,
      ),
      ...lines.map(({ color, of }) => {
        const points = stretches.map((one) => `${round(x(one.cycles))},${round(y(of(one)))}`)
        return `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="1.6"/>`
      }),
      ...lines.map(
        ({ name, color }, place) =>
          `<text x="${width - right}" y="${bottom - panelHeight - 6}" text-anchor="end" dx="${-150 * (lines.length - 1 - place)}" fill="${color}">${name}</text>`,
      ),
      ...[0, 0.25, 0.5, 0.75, 1].map(
        (share) =>
          `<text x="${round(x(share * most))}" y="${bottom + 16}" text-anchor="middle">${Math.round(share * most)}${share === 1 ? ' backups' : ''}</text>`,
      ),
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#333">`,
    '<title>Memory, handles and sessions of a daemon over the backups it made</title>',
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n')
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
