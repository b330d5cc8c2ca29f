"""All samples of a run, and the medians of them."""

import statistics


class Results:
    """Samples by job, peer and metric; failures by job and peer."""

    def __init__(self):
        self._samples = {}
        self.failures = []  # (job name, peer name, text)

    def add(self, job, peer, values):
        for metric, value in values.items():
            self._samples.setdefault((job, peer, metric), []).append(value)

    def fail(self, job, peer, text):
        self.failures.append((job, peer, text))

    def samples(self, job, peer, metric):
        return self._samples.get((job, peer, metric), [])

    def median(self, job, peer, metric):
        """None if nothing was measured."""
        values = self.samples(job, peer, metric)
        return statistics.median(values) if values else None

    def metrics_of(self, job):
        """Names of the metrics that some peer has for the job, in order of appearance."""
        names = {}
        for sample_job, _, metric in self._samples:
            if sample_job == job:
                names[metric] = None
        return list(names)

    def as_dict(self):
        """{job: {peer: {metric: {median, samples}}}}."""
        tree = {}
        for (job, peer, metric), values in self._samples.items():
            tree.setdefault(job, {}).setdefault(peer, {})[metric] = {
                'median': statistics.median(values), 'samples': values}
        return tree
