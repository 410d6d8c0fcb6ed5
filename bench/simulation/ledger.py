"""Who maps what: the rules of net/ledger.c, whose head says why they are so.

Each node is at home in an equal range of the input and takes from it first; then it steals from the node with the most
left. A work is 1 / (PARTS x living nodes) of what is left, but not less than the smallest task, nor than `least` as
long as that is not above 1 / (LAST_PARTS x living nodes).
"""
import heapq

PARTS, LAST_PARTS = 32, 2


class Ledger:
    def __init__(self, units, nodes, smallest, least):
        self.smallest, self.least, self.living = smallest, least, nodes
        self.left_of = [units * (node + 1) // nodes - units * node // nodes for node in range(nodes)]
        self.left = units
        self.heap = [(-left, node) for node, left in enumerate(self.left_of)]   # may say more than is left
        heapq.heapify(self.heap)

    def give(self, node):
        """Units of the next work; 0: nothing is to do now."""
        if self.left == 0:
            return 0
        home = node if self.left_of[node] else self._fullest()
        worth = min(self.least, self.left // (LAST_PARTS * self.living))
        units = min(max(self.smallest, worth, self.left // (PARTS * self.living)), self.left_of[home])
        self.left_of[home] -= units
        self.left -= units
        return units

    def _fullest(self):
        while True:
            said, node = self.heap[0]
            if -said == self.left_of[node]:
                return node
            heapq.heapreplace(self.heap, (-self.left_of[node], node))

    def lose(self, node, units):
        """A node is lost, and so is what it was given: that is to do again."""
        self.living -= 1
        self.left_of[node] += units
        self.left += units
        heapq.heappush(self.heap, (-self.left_of[node], node))
