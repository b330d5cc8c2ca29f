#!/usr/bin/env python3
"""Tests of what the benchmark computes; needs no mount. Run by meson test."""

import os
import subprocess
import sys
import unittest
from unittest import mock

sys.dont_write_bytecode = True

import commands  # noqa: E402
import job_convert  # noqa: E402
import job_fio  # noqa: E402
import job_seed  # noqa: E402
import jobs  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import syscalls  # noqa: E402
import targets  # noqa: E402
from metrics import METRICS, advantage, show  # noqa: E402
from results import Results  # noqa: E402


class AdvantageTest(unittest.TestCase):

    def test_a_shorter_time_of_ours_is_better(self):
        self.assertEqual(advantage(METRICS['seconds'], 0.5, 2.0), 4.0)

    def test_a_higher_rate_of_ours_is_better(self):
        self.assertEqual(advantage(METRICS['iops'], 3000, 1000), 3.0)

    def test_nothing_is_said_without_a_value(self):
        self.assertIsNone(advantage(METRICS['iops'], None, 1000))
        self.assertIsNone(advantage(METRICS['seconds'], 1.0, 0))


class ShowTest(unittest.TestCase):

    def test_digits_follow_the_size(self):
        self.assertEqual(show(METRICS['seconds'], 0.0123), '0.012')
        self.assertEqual(show(METRICS['iops'], 123456.7), '123,457')
        self.assertEqual(show(METRICS['writes'], 1026), '1,026')
        self.assertEqual(show(METRICS['reads'], 0), '0')
        self.assertEqual(show(METRICS['seconds'], None), '–')


class TargetsTest(unittest.TestCase):

    @staticmethod
    def judge_one(target, values):
        def median(job, peer, metric):
            return values.get((job, peer, metric))
        return targets.judge(median, {target.job}, [target])[0]

    def test_a_factor_is_reached_from_its_bound_on(self):
        target = targets.Target('j', 'seconds', 'export', 6)
        for ours, reached in ((1.0, True), (1.01, False)):
            values = {('j', 'ours', 'seconds'): ours, ('j', 'export', 'seconds'): 6.0}
            self.assertIs(self.judge_one(target, values).reached, reached)

    def test_a_limit_is_from_above_for_costs_and_from_below_for_gains(self):
        cost = targets.Target('j', 'syncs', limit=4)
        self.assertTrue(self.judge_one(cost, {('j', 'ours', 'syncs'): 4}).reached)
        self.assertFalse(self.judge_one(cost, {('j', 'ours', 'syncs'): 5}).reached)
        gain = targets.Target('j', 'shortest_run_mib', limit=16)
        self.assertTrue(self.judge_one(gain, {('j', 'ours', 'shortest_run_mib'): 32}).reached)
        self.assertFalse(self.judge_one(gain, {('j', 'ours', 'shortest_run_mib'): 8}).reached)

    def test_zero_is_a_measured_count(self):
        target = targets.Target('j', 'reads', limit=0)
        self.assertTrue(self.judge_one(target, {('j', 'ours', 'reads'): 0}).reached)

    def test_what_was_not_measured_is_neither_reached_nor_missed(self):
        self.assertIsNone(self.judge_one(targets.Target('j', 'reads', limit=0), {}).reached)

    def test_every_target_names_a_job_that_its_peers_take_part_in(self):
        known = {job.name: job for job in jobs.all_jobs()}
        for target in targets.TARGETS:
            self.assertIn(target.metric, METRICS)
            self.assertIn('ours', known[target.job].peers)
            if target.peer:
                self.assertIn(target.peer, known[target.job].peers)


class JobsTest(unittest.TestCase):

    def test_names_are_unique(self):
        names = [job.name for job in jobs.all_jobs()]
        self.assertEqual(len(names), len(set(names)))


class ConvertTest(unittest.TestCase):

    def test_both_are_asked_for_the_same(self):
        ours = mock.Mock(control='/b/vmdkctl')
        ours.name = 'ours'
        words = [job_convert.command(peer, 'streamOptimized', 'd.raw', 'd.vmdk')
                 for peer in (ours, peers.InprocPeer())]
        for line in words:
            self.assertEqual(line[-2:], ['d.raw', 'd.vmdk'])
            self.assertIn('streamOptimized', ' '.join(line))
        self.assertEqual([line[0] for line in words], ['/b/vmdkctl', 'qemu-img'])

    def test_a_larger_image_is_worse_by_its_part(self):
        self.assertAlmostEqual(advantage(METRICS['image_mib'], 101.0, 100.0), 0.990, places=3)


class ResultsTest(unittest.TestCase):

    def test_medians_are_of_all_rounds(self):
        results = Results()
        for value in (3.0, 1.0, 9.0):
            results.add('j', 'raw', {'seconds': value})
        self.assertEqual(results.median('j', 'raw', 'seconds'), 3.0)
        self.assertIsNone(results.median('j', 'ours', 'seconds'))


class ParsingTest(unittest.TestCase):

    def test_calls_are_counted_once_when_interrupted(self):
        trace = ['71 pwrite64(7</d/1.vmdk>, ""..., 65536, 0 <unfinished ...>',
                 '72 fdatasync(7</d/1.vmdk>) = 0',
                 '71 <... pwrite64 resumed>) = 65536',
                 '73 pwritev(8</d/1-s001.vmdk>, [{...}], 1, 0) = 512',
                 'strace: Process 74 attached']
        self.assertEqual(list(syscalls.parse(trace)),
                         [('pwrite64', '/d/1.vmdk'), ('fdatasync', '/d/1.vmdk'),
                          ('pwritev', '/d/1-s001.vmdk')])

    def test_runs_that_touch_on_disk_and_in_the_file_are_one(self):
        def data(offset, length, file_offset, file='a'):
            return {'state': 'data', 'offset': offset, 'length': length, 'file': file,
                    'fileOffset': file_offset}
        document = {'runs': [data(0, 10, 100), data(10, 5, 110), data(15, 5, 200),
                             {'state': 'hole', 'offset': 20, 'length': 5}, data(25, 5, 210),
                             data(30, 5, 215, 'b')]}
        self.assertEqual(peers.merged_runs(document), [15, 5, 5, 5])

    def test_the_clock_of_qemu_img_is_read(self):
        self.assertEqual(job_seed.clock('x\nRun completed in 0.100 seconds.\n'), 0.1)
        with self.assertRaises(commands.BenchError):
            job_seed.clock('nothing')

    def test_a_rate_with_sync_is_over_the_whole_time(self):
        latency = {'percentile': {'99.000000': 5000}}
        record = {'write': {'runtime': 1000, 'total_ios': 100, 'clat_ns': latency},
                  'sync': {'total_ios': 0}}
        rates = job_fio.rates(record, 'write', 1.0)
        self.assertEqual(rates, {'iops': 100.0, 'iops_sync': 50.0, 'p99_us': 5.0})


class CommandsTest(unittest.TestCase):

    def test_a_failure_carries_status_and_stderr(self):
        with self.assertRaisesRegex(commands.BenchError, r'exit status 3: sh .*\n\s+oh no'):
            commands.run(['sh', '-c', 'echo oh no >&2; exit 3'])

    def test_a_hanging_command_ends(self):
        with self.assertRaisesRegex(commands.BenchError, 'no end after'):
            commands.run(['sleep', '60'], timeout=0.1)


class ReportTest(unittest.TestCase):

    def test_columns_are_aligned(self):
        lines = report.table(['name', 'x'], [['a', '1.00'], ['long name', '2']], markdown=False)
        self.assertEqual(lines, ['name          x', '---------------', 'a          1.00',
                                 'long name     2'])


class CommandLineTest(unittest.TestCase):
    _RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'run')

    def run_tool(self, *words):
        return subprocess.run([sys.executable, self._RUN, *words], capture_output=True, text=True,
                              check=False)

    def test_list_names_every_job(self):
        done = self.run_tool('--list')
        self.assertEqual(done.returncode, 0)
        for job in jobs.all_jobs():
            self.assertIn(f'{job.name} ', done.stdout)

    def test_an_unknown_peer_is_a_usage_error(self):
        done = self.run_tool('--peers', 'nobody')
        self.assertEqual(done.returncode, 2)
        self.assertIn('unknown peer nobody', done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
