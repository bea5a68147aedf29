"""verity: the formats of veritysetup, damage, repair, options."""
import os
import subprocess
import tempfile

from generator import Device

DIGESTS = ('sha256 sha256 sha1 sha512 md5 rmd160 sha3-256 blake2b-512 wp512 sha224 sha384 sm3').split()
UUID = '11111111-1111-1111-1111-111111111111'


def root_of(disks, words):
    """The root hash that veritysetup gives for disks, (name, sectors, seed), or None where it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, sectors, seed in disks:
            paths['@' + name] = folder + '/' + name
            fill = [os.environ['BLK'], 'fill', paths['@' + name], str(sectors), str(seed)]
            subprocess.run(fill, check=True)
        for name, path in paths.items():
            words = [word.replace(name, path) for word in words]
        said = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    for line in said.decode().split('\n'):
        if line.startswith('Root hash'):
            return line.split()[-1]
    return None


def options(g, roots, parity_blocks):
    some = {'ignore_corruption': .3, 'ignore_zero_blocks': .25, 'check_at_most_once': .25,
            'try_verify_in_tasklet': .15}
    found = [each for each, often in some.items() if g.chance(often)]
    g.random.shuffle(found)
    if roots:
        found.append('use_fec_from_device @f fec_roots %d fec_blocks %d fec_start %d'
                     % (roots, parity_blocks, g.pick([0, 0, 0, 0, 0, 0, 1])))
    words = ' '.join(found).split()
    return ' '.join(['', str(len(words)), *words]) if words else g.pick(['', '', ' 0'])


def family(g):
    data_block = g.pick([512, 1024, 4096, 4096])
    hash_block = g.pick([512, 1024, 4096, 4096, data_block])
    blocks = g.pick([1, 2, 3, 7, 16, 17, 33, g.number(1, 120)])
    data_bytes = blocks * data_block
    sectors = data_bytes // 512 + g.pick([0, 0, 8, 5])
    sectors += -sectors % (data_block // 512)
    on_the_data = g.chance(.25)
    if on_the_data:
        offset = data_bytes + -data_bytes % hash_block
        sectors = max(sectors, offset // 512 + 300)
        sectors += -sectors % 8
    else:
        offset = g.pick([0, 0, hash_block, hash_block * 3])
    hashes = 'd' if on_the_data else 'h'
    hash_sectors = sectors if on_the_data else g.pick([64, 128, 300, 1024])
    version, digest = g.pick([1, 1, 1, 0]), g.pick(DIGESTS)
    salt = g.pick(['-', '00', 'ff' * 32, g.hex(g.number(1, 80))])
    disks = [('d', sectors, g.new_seed())]
    if not on_the_data:
        disks.append(('h', hash_sectors, 0))
    words = ['veritysetup', 'format', '@d', '@' + hashes, '--salt=' + salt, '--uuid=' + UUID,
             '--data-block-size=%d' % data_block, '--hash-block-size=%d' % hash_block,
             '--data-blocks=%d' % blocks, '--format=%d' % version, '--hash=' + digest]
    superblock = g.chance(.7)
    if not superblock:
        words.append('--no-superblock')
    if offset:
        words.append('--hash-offset=%d' % offset)
    roots = g.pick([2, 2, 4, 8, 24]) if g.chance(.4) else 0
    if roots:
        disks.append(('f', 2048, 0))
        words += ['--fec-device=@f', '--fec-roots=%d' % roots]
    root = root_of(disks, words)
    if not root:
        family(g)
        return
    for name, size, seed in disks:
        g.say('disk', name, size * 512, *([seed] if seed else []))
    g.say('check', *words)
    start = offset // hash_block + (max(1, 512 // hash_block) if superblock else 0)
    for _ in range(g.pick([0, 0, 1, 2, 3])):
        if on_the_data or g.chance(.6):
            g.say('flip d', g.number(0, data_bytes - 1))
        else:
            g.say('flip h', start * hash_block + g.number(0, hash_block * 3 - 1))
    used = blocks if g.chance(.7) else g.number(1, blocks)
    length = used * (data_block // 512) if g.chance(.8) else g.number(1, data_bytes // 512)
    parity = blocks + hash_sectors * 512 // hash_block - start if g.chance(.85) else blocks + g.number(0, 3)
    text = 'verity %d @d @%s %d %d %d %d %s %s %s%s' % (
        version, hashes, data_block, hash_block, blocks if g.chance(.8) else used, start, digest, root, salt,
        options(g, roots, parity))
    g.table('create v --readonly', [(length, text)])
    for verb in 'table', 'status', 'size', 'limits', 'dm measure', 'dm deps':
        g.say(verb, 'v')
    volume = Device('v', length, data_block // 512)
    for _ in range(g.number(2, 8)):
        g.say('read v', *g.span(volume))
        if g.chance(.15):
            g.say('flip d', g.number(0, data_bytes - 1))
    for words in 'runs v', 'status v', 'write v 0 %d 3' % (data_block // 512), 'table v', 'runs v':
        g.say(words)


FAMILIES = {'verity': family}
