"""Tables of medians and ratios: for the terminal, for docs/benchmarks.md, as JSON."""

import json

import method
from metrics import METRICS, advantage, show


def table(header, rows, markdown):
    """Rows of text in columns; the first column left, the others right-aligned."""
    if markdown:
        lines = ['| ' + ' | '.join(header) + ' |',
                 '|' + '|'.join(['---'] + ['---:'] * (len(header) - 1)) + '|']
        return lines + ['| ' + ' | '.join(row) + ' |' for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(row):
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        return '  '.join([first, *rest]).rstrip()

    return [line(header), '-' * (sum(widths) + 2 * len(widths) - 2), *map(line, rows)]


class Report:
    """`peers`: names in the order of the columns."""

    def __init__(self, results, jobs, peers, verdicts, facts, rounds, quick):
        self._results = results
        self._jobs = jobs
        self._peers = peers
        self._verdicts = verdicts
        self._facts = facts
        self._rounds = rounds
        self._quick = quick

    def _cell(self, metric, job, peer, spread):
        """A median; with `spread` the smallest and largest sample beside it."""
        value = show(metric, self._results.median(job, peer, metric.name))
        samples = self._results.samples(job, peer, metric.name)
        if spread and len(samples) > 1:
            value += f' ({show(metric, min(samples))}–{show(metric, max(samples))})'
        return value

    def _ratio(self, metric, job, peer):
        value = advantage(metric, self._results.median(job, 'ours', metric.name),
                          self._results.median(job, peer, metric.name))
        return '–' if value is None else f'{value:.2f}'

    def _measurements(self, markdown):
        others = [peer for peer in self._peers if peer != 'ours'] if 'ours' in self._peers else []
        header = ['job: metric', *self._peers, *(f'ours vs {peer}' for peer in others)]
        rows = []
        for job in self._jobs:
            for name in self._results.metrics_of(job.name):
                metric = METRICS[name]
                label = f'{job.name}: {metric.title}' + (f', {metric.unit}' if metric.unit else '')
                rows.append([label,
                             *(self._cell(metric, job.name, peer, markdown)
                               for peer in self._peers),
                             *(self._ratio(metric, job.name, peer) for peer in others)])
        return table(header, rows, markdown)

    def _targets(self, markdown):
        rows = [[f'{verdict.target.job}: {METRICS[verdict.target.metric].title}', verdict.wanted,
                 verdict.measured, verdict.word] for verdict in self._verdicts]
        return table(['target', 'wanted', 'measured', 'reached'], rows, markdown)

    def _summary(self):
        reached = sum(verdict.reached is True for verdict in self._verdicts)
        unmeasured = sum(verdict.reached is None for verdict in self._verdicts)
        text = f'{reached} of {len(self._verdicts)} targets reached'
        return f'{text}, {unmeasured} not measured.' if unmeasured else f'{text}.'

    def _failures(self):
        return [f'FAILED {job}, {peer}: {text}' for job, peer, text in self._results.failures]

    def _scale(self):
        size = ', small sizes (--quick): not for publication' if self._quick else ''
        rounds = 'one round'
        if self._rounds > 1:
            rounds = f'medians of {self._rounds} alternating rounds'
        return f'{rounds}{size}'

    def text(self):
        lines = [f'{name + ":":<22}{value}' for name, value in self._facts]
        lines += ['', f'Values: {self._scale()}. "ours vs": how many times better vmdkfuse is.', '']
        lines += self._measurements(False)
        if self._verdicts:
            lines += ['', *self._targets(False), self._summary()]
        if self._results.failures:
            lines += ['', *self._failures()]
        return '\n'.join(lines) + '\n'

    def markdown(self):
        lines = ['# Benchmarks', '', method.INTRODUCTION, '', '## Environment', '']
        lines += [f'* {name}: {value}' for name, value in self._facts]
        if self._verdicts:
            lines += ['', '## Targets', '', *self._targets(True), '', self._summary()]
        lines += ['', '## Measurements', '',
                  f'{self._scale().capitalize()}; in brackets the smallest and the largest value. '
                  '"ours vs" says how many times better vmdkfuse is (above 1: better).', '']
        lines += self._measurements(True)
        if self._results.failures:
            lines += ['', '## Failures', '', *(f'* {line}' for line in self._failures())]
        lines += ['', '## Jobs', '', *(f'* `{job.name}`: {job.title}' for job in self._jobs)]
        lines += ['', method.METHOD]
        return '\n'.join(lines)

    def json(self):
        document = {
            'schema': 1, 'environment': dict(self._facts), 'rounds': self._rounds,
            'quick': self._quick, 'results': self._results.as_dict(),
            'targets': [{'job': verdict.target.job, 'metric': verdict.target.metric,
                         'peer': verdict.target.peer, 'wanted': verdict.wanted,
                         'measured': verdict.measured, 'reached': verdict.reached}
                        for verdict in self._verdicts],
            'failures': [{'job': job, 'peer': peer, 'message': text}
                         for job, peer, text in self._results.failures]}
        return json.dumps(document, indent=1) + '\n'
