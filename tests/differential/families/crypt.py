"""crypt: every cipher, initial vector and option; keys that are set and wiped."""
from generator import Row

CIPHERS = ('''
    aes aes-plain aes-ecb cipher_null-ecb
    aes-cbc-plain aes-cbc-plain64 aes-cbc-plain64be aes-cbc-plain64:x aes-cbc-null aes-cbc-benbi aes-cbc-eboiv
    aes-cbc-elephant aes-cbc-essiv:sha1 aes-cbc-essiv:sha256 aes-cbc-essiv:sha512 aes-cbc-tcw
    aes-xts-plain64 aes-xts-plain64be aes-xts-benbi aes-xts-null aes-ctr-plain64 aes-lrw-benbi
    aes:2-cbc-plain64 aes:4-xts-plain64 aes:64-cbc-lmk
    serpent-xts-plain64 serpent-cbc-essiv:sha256 serpent:2-cbc-tcw
    twofish-xts-plain64 twofish-cbc-plain twofish-lrw-benbi twofish:2-cbc-lmk
    camellia-xts-plain64 camellia-cbc-essiv:md5 camellia-cbc-tcw
    cast5-cbc-plain64 cast6-xts-plain64 sm4-xts-plain64
    blowfish-cbc-plain64 blowfish-cbc-benbi blowfish-cbc-lmk des3_ede-cbc-plain64 des3_ede-cbc-tcw
    xchacha12,aes-adiantum-plain64
    capi:xts(aes)-plain64 capi:cbc(aes)-essiv:sha256 capi:ctr(aes)-plain64
    capi:essiv(cbc(aes),sha256)-plain64 capi:adiantum(xchacha12,aes)-plain64''').split()
# Bytes that a key of each may have.
KEY_BYTES = {'aes': [16, 24, 32], 'serpent': [16, 24, 32], 'twofish': [16, 24, 32], 'camellia': [16, 24, 32],
             'cast5': [16, 10, 5], 'cast6': [16, 32, 24], 'blowfish': [16, 8, 56, 7], 'des3_ede': [24],
             'sm4': [16], 'cipher_null': [0]}
PERFORMANCE = ('same_cpu_crypt', 'submit_from_crypt_cpus', 'no_read_workqueue', 'no_write_workqueue',
               'high_priority')


def key_of(g, cipher):
    """A key that fits: of as many bytes as the cipher, its mode and its vector take."""
    capi = cipher.startswith('capi:')
    name = next(each for each in KEY_BYTES if each in cipher)
    count = g.pick(KEY_BYTES[name])
    if 'xts' in cipher or 'elephant' in cipher:
        count *= 2
    if 'adiantum' in cipher:
        count = 32
    if 'lrw' in cipher:
        count += 16
    head = cipher.split('-')[0]
    keys = int(head.split(':')[1]) if ':' in head and not capi else 1
    extra = count if 'lmk' in cipher and g.chance(.5) else 0
    count = count * keys + extra
    if 'tcw' in cipher:
        count += 8 + 16 if name in ('blowfish', 'des3_ede') else 16 + 16
    if g.wrong_keys and g.chance(.06):
        count = g.number(0, 70)
    return g.hex(count) or '-'


def options(g, unit):
    """(sectors of a block, the text) of some."""
    found, block = [], 1
    if unit > 1 and g.chance(.5):
        block = g.pick([each for each in (1, 2, 4, 8) if each <= unit])
        found.append('sector_size:%d' % (block * 512))
        if g.chance(.5):
            found.append('iv_large_sectors')
    if g.chance(.3):
        found.append('allow_discards')
    found += [each for each in PERFORMANCE if g.chance(.1)]
    g.random.shuffle(found)
    if not found:
        return block, g.pick(['', '', ' 0'])
    return block, ' %d %s' % (len(found), ' '.join(found))


def crypt(g, length=None):
    length = length or g.length()
    area = g.area(length)
    if not area:
        return None
    device, at = area
    cipher = g.pick(CIPHERS)
    block, text = options(g, g.unit)
    vector = g.pick([0, 0, 1, 8, g.number(0, 1000), 2**32 - 4, 2**40, 2**63])
    vector -= vector % block
    return Row(length, 'crypt %s %s %d @%s %d%s' % (cipher, key_of(g, cipher), vector, device.name, at, text),
               [device], max(block, device.block), [0, length])


def change_key(g, name, key):
    """Another key while the volume is suspended, sometimes the same again."""
    g.say('suspend', name)
    if g.chance(.25):
        g.say('message', name, 0, 'key wipe')
        g.say('table', name, '--showkeys')
        g.say('message', name, 0, 'key set', key)
    others = ['key set ' + key, 'key set ' + g.hex(len(key) // 2), 'key set ' + key_of(g, 'aes-cbc-plain'),
              'key', 'key set', 'key wipe x', 'key set ' + key.upper()]
    g.say('message', name, 0, g.pick(others))
    g.say('resume', name)
    g.say('table', name)
    g.say('runs', name)
    if g.chance(.5):
        g.say('suspend', name)
        g.say('message', name, 0, 'key set', key)
        g.say('resume', name)
        g.say('runs', name)


def family(g):
    g.wrong_keys = True
    for _ in range(g.number(1, 2)):
        g.disk(g.pick([256, 512, 1024]))
    for _ in range(g.number(2, 4)):
        g.used = []
        g.unit = g.pick([1, 1, 2, 4, 8, 8])
        length = g.pick([8, 16, 24, 40, 64]) * g.pick([1, 2])
        rows = [crypt(g, length) for _ in range(g.pick([1, 1, 2]))]
        rows = [row for row in rows if row]
        if not rows:
            continue
        volume = g.create(g.new_name('v'), rows)
        name = volume.name
        g.say('table', name, '--showkeys')
        for verb in 'status', 'dm measure', 'dm deps', 'limits', 'runs':
            g.say(verb, name)
        for _ in range(g.number(2, 5)):
            g.request(volume)
        if g.chance(.4):
            change_key(g, name, rows[0].text.split()[2])
        if g.chance(.3):
            g.drop(volume)
    for device in g.disks + g.volumes:
        g.say('runs', device.name)


ROWS = {'crypt': crypt}
FAMILIES = {'crypt': family}
